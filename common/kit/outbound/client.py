"""`OutboundClient`: one exchange at a time through every rule there is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import requests
from urllib3.exceptions import HTTPError, SSLError
from urllib3.exceptions import TimeoutError as ReadTimeout

from common.kit.outbound.addresses import LOOPBACK, Address, Network, Policy, Target, parse
from common.kit.outbound.errors import Broken, OutboundError, Refused, TimedOut, TooLarge, Unreachable
from common.kit.outbound.names import Names, Resolver
from common.kit.outbound.pools import Adapter, Prepared
from common.kit.outbound.resolving import SystemResolver
from common.kit.outbound.watch import Call, Watchdog
from common.kit.outbound.wire import Exchange, current, tls_context

CHUNK = 64 * 1024

_Reader = Callable[[Any], tuple[bytes, bool]]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
#: Framing and routing are the outbound client's business (RFC 9110 §7.6.1, RFC 9112 §6).
_OURS = re.compile(
    r"accept-encoding|connection|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer said. `headers` have lower-case names; `truncated`: there was more of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: int
    truncated: bool = False


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that cannot be sent as they are, or that would change how and where we send. Raises `Refused`."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
            raise Refused("A header has a name that is not allowed.")
        if not _VALUE.fullmatch(value):
            raise Refused(f"The header {name} has a value that is not allowed.")


class OutboundClient:
    """Thread-safe, one per process, made after forking. Keeps connections to peers alive.

    Every exchange: the URL parsed once, resolved once per connection, each of its addresses checked, connected to a
    checked address with the original name in Host, SNI and certificate; no redirects, proxies, cookies or `.netrc`;
    TLS verified; one deadline over name, connection, handshake, sending, head and body; at most `max_bytes` of decoded
    body; at most 64 kB of head.

    `allow` and `forbid` are explained in `addresses.Policy`; `resolve` in `names.Resolver`; `ca_file` (PEM) is trusted
    beside the usual roots.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        user_agent: str,
        forbid: Collection[tuple[str, int]] = (),
        resolve: Resolver | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._policy = Policy(tuple(allow), frozenset(forbid))
        self._names = Names(resolve or SystemResolver())
        self._adapter = Adapter(tls_context(ca_file))
        self._watchdog = Watchdog(self._adapter.close_stale)
        # What is counted is what is sent; a peer that compresses all the same is decoded under the same cap.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}

    def close(self) -> None:
        self._watchdog.close()
        self._adapter.close()

    def check_url(self, url: str, *, operator: bool = False) -> str:
        """Whether this URL may be a target, by what it says itself: nothing is asked, so nobody can make it wait.

        What a name leads to is judged whenever a connection is made. `operator`: they may have named hosts of the
        networks that they allow. → the URL, normalised. Raises `Refused`.
        """
        target = parse(url)
        if target.literal is not None or target.local:
            self._policy.check(target, self._own(target))
        else:
            self._policy.check_name(target, operator=operator)
        return target.url

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        params: Mapping[str, Any] | Sequence[tuple[str, str]] = (),
        timeout: float,
        max_bytes: int,
        truncate: bool = False,
        call: Call | None = None,
        account: str | None = None,
    ) -> Answer:
        """One exchange. `timeout`: seconds for the whole of it; `call`: the handle by which other threads may end it;
        `account`: whose choice the URL was, if it was a user's.

        A body longer than `max_bytes` raises `TooLarge`, or is cut off when `truncate`. Raises `OutboundError`.
        """
        check_headers(headers)
        target, call = parse(url), call or Call()
        prepared = Prepared(method, target.with_query(urlencode(params, doseq=True)), self._all(headers, body), body)
        exchange = Exchange(target, call, partial(self._dial, account=account), time.monotonic())
        token = current.set(exchange)
        self._watchdog.watch(call)
        try:
            call.begin(exchange.began + timeout)
            return self._twice(exchange, prepared, partial(_read, max_bytes=max_bytes, truncate=truncate))
        finally:
            self._watchdog.forget(call)
            call.let_go()
            current.reset(token)

    def _all(self, headers: Mapping[str, str], body: bytes | None) -> dict[str, str]:
        given = {name.lower() for name in headers}
        ours = {name: value for name, value in self._headers.items() if name.lower() not in given}
        length = {} if body is None else {"Content-Length": str(len(body))}
        return {**ours, **headers, **length}

    def _dial(self, target: Target, call: Call, account: str | None) -> Sequence[Address]:
        """The addresses to connect to, all of them checked."""
        addresses = self._own(target) or self._names.addresses(target.host, target.port, call, account)
        self._policy.check(target, addresses)
        return addresses

    def _own(self, target: Target) -> Sequence[Address]:
        """The addresses that a target names without anybody being asked; none for other names."""
        if target.literal is not None:
            return (target.literal,)
        if target.local:
            return [a for a in LOOPBACK if self._policy.permits(target, a)] or LOOPBACK
        return ()

    def _twice(self, exchange: Exchange, prepared: Prepared, read: _Reader) -> Answer:
        """Once more when a kept-alive connection turned out to be dead before it took a single byte."""
        try:
            return self._once(exchange, prepared, read)
        except Unreachable:
            if not exchange.reused or exchange.call.sent:
                raise
        return self._once(exchange, prepared, read)

    def _once(self, exchange: Exchange, prepared: Prepared, read: _Reader) -> Answer:
        raw: Any = None
        try:
            raw = self._adapter.send(prepared, stream=True, timeout=exchange.call.remaining).raw
            body, truncated = read(raw)
            exchange.call.check()  # a connection that was cut off looks like the end of a body without a length
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _explained(error, exchange.call, raw) from error
        finally:
            if raw is not None:
                _finish(raw)
        headers = {name.lower(): value for name, value in raw.headers.items()}
        return Answer(raw.status, headers, body, int((time.monotonic() - exchange.began) * 1000), truncated)


def _read(raw: Any, max_bytes: int, truncate: bool) -> tuple[bytes, bool]:
    """The body, decoded, piece by piece as it comes. `read1` keeps to the cap even where chunks lie about size."""
    body = bytearray()
    while piece := raw.read1(CHUNK, decode_content=True):
        body += piece
        if len(body) > max_bytes:
            if not truncate:
                raise TooLarge(sent=True, status=raw.status)
            return bytes(body[:max_bytes]), True
    return bytes(body), False


def _finish(raw: Any) -> None:
    """A connection with something left to read is of no more use; urllib3 has taken back the others."""
    if raw._connection is not None:
        raw.close()
        raw.release_conn()


def _explained(error: Exception, call: Call, raw: Any) -> OutboundError:
    """What happened, in our words. What cut the call off comes first: the rest are its consequences."""
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
        return Unreachable(_tls_trouble(error))
    return Unreachable()


def _tls_trouble(error: BaseException | None) -> str:
    """The verifier's reason, when it had one: it speaks of the peer's certificate only."""
    seen: BaseException | None = error
    while seen is not None:
        reason = getattr(seen, "verify_message", None)
        if reason:
            return f"The peer's certificate was not accepted: {reason}."
        seen = seen.__cause__ or seen.__context__
    return "No secure connection could be made to the peer."
