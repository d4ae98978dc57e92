"""What went wrong below us, as an `OutboundError`."""

from __future__ import annotations

from typing import Final

import requests
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, SSLError
from urllib3.exceptions import TimeoutError as ReadTimeout

from common.kit.outbound.errors import Broken, OutboundError, PeerUnreachable, TimedOut
from common.kit.outbound.watch import Call

#: What sending a request and reading its response raise.
FAILURES: Final = (requests.RequestException, HTTPError, OSError, ValueError)


def explained(error: Exception, call: Call, raw: HTTPResponse | None) -> OutboundError:
    """Translate an error to an `OutboundError`. An abort or timeout takes precedence: other errors follow from it."""
    status = None if raw is None else raw.status
    try:
        call.check()
    except OutboundError as cut:
        cut.status = status
        return cut
    if isinstance(error, requests.Timeout | ReadTimeout | TimeoutError):
        return TimedOut(sent=call.sent, status=status)
    if call.sent:
        return Broken(sent=True, status=status)
    if isinstance(error, requests.exceptions.SSLError | SSLError):
        return PeerUnreachable(_tls_failure(error))
    return PeerUnreachable()


def _tls_failure(error: BaseException | None) -> str:
    """The certificate verifier's reason, if there is one; it describes the peer's certificate only."""
    seen: BaseException | None = error
    while seen is not None:
        reason = getattr(seen, "verify_message", None)
        if reason:
            return f"The server's certificate was not accepted: {reason}."
        seen = seen.__cause__ or seen.__context__
    return "No TLS connection could be made."
