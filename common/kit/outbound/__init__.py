"""The outbound client for tools and webhooks: the only code that opens connections to external services.

    outbound = OutboundClient(settings.outbound_allow, user_agent="joyfull-hub/1.0.0")
    answer = outbound.request("POST", url, headers={…}, body=b"{}", timeout=30, max_bytes=5 << 20)

`client.OutboundClient` documents its guarantees, `addresses` the allowed targets, `errors` the failures.
"""

from common.kit.outbound.addresses import Network, authority_of
from common.kit.outbound.client import Answer, OutboundClient, check_headers
from common.kit.outbound.errors import (
    Aborted,
    Broken,
    OutboundError,
    PeerUnreachable,
    Refused,
    ResponseTooLarge,
    TimedOut,
)
from common.kit.outbound.names import Resolver
from common.kit.outbound.own_services import own_services
from common.kit.outbound.resolving import SystemResolver
from common.kit.outbound.stream import StreamedAnswer
from common.kit.outbound.watch import Call

__all__ = [
    "Aborted",
    "Answer",
    "Broken",
    "Call",
    "Network",
    "OutboundClient",
    "OutboundError",
    "PeerUnreachable",
    "Refused",
    "Resolver",
    "ResponseTooLarge",
    "StreamedAnswer",
    "SystemResolver",
    "TimedOut",
    "authority_of",
    "check_headers",
    "own_services",
]
