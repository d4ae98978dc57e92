"""The outbound client, for tools and webhooks: nothing else in this code base opens a connection outwards.

    outbound = OutboundClient(settings.outbound_allow, user_agent="joyfull-hub/1.0.0")
    answer = outbound.request("POST", url, headers={…}, body=b"{}", timeout=30, max_bytes=5 << 20)

What it promises is in `client.OutboundClient`; what may be reached in `addresses`; what goes wrong in `errors`.
"""

from common.kit.outbound.addresses import Network, authority_of, own_services
from common.kit.outbound.client import Answer, OutboundClient, check_headers
from common.kit.outbound.errors import Aborted, Broken, OutboundError, Refused, TimedOut, TooLarge, Unreachable
from common.kit.outbound.names import Resolver
from common.kit.outbound.resolving import SystemResolver
from common.kit.outbound.watch import Call

__all__ = [
    "Aborted",
    "Answer",
    "Broken",
    "Call",
    "Network",
    "OutboundClient",
    "OutboundError",
    "Refused",
    "Resolver",
    "SystemResolver",
    "TimedOut",
    "TooLarge",
    "Unreachable",
    "authority_of",
    "check_headers",
    "own_services",
]
