"""`OutboundClient`: HTTP requests to external services, subject to all outbound rules."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from urllib3 import HTTPResponse

from common.kit.outbound.addresses import LOOPBACK, Address, AddressPolicy, Network, Target, parse
from common.kit.outbound.errors import PeerUnreachable, Refused, ResponseTooLarge
from common.kit.outbound.names import Names, Resolver
from common.kit.outbound.pools import OutboundAdapter, Prepared
from common.kit.outbound.resolving import SystemResolver
from common.kit.outbound.stream import StreamedAnswer, streamed
from common.kit.outbound.translating import FAILURES, explained
from common.kit.outbound.watch import Call, DeadlineWatchdog
from common.kit.outbound.wire import Exchange, current, tls_context

CHUNK = 64 * 1024

T = TypeVar("T")
_Reader = Callable[[HTTPResponse], tuple[bytes, bool]]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
#: Framing and routing headers, which only the outbound client may set (RFC 9110 §7.6.1, RFC 9112 §6).
_OURS = re.compile(
    r"accept-encoding|connection|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's response. `headers` have lower-case names; `truncated`: the body was cut off at `max_bytes`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: int
    truncated: bool = False


def check_headers(headers: Mapping[str, str]) -> None:
    """Reject headers that are malformed, or that would change framing or routing. Raises `Refused`."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
            raise Refused("A header has a name that is not allowed.")
        if not _VALUE.fullmatch(value):
            raise Refused(f"The header {name} has a value that is not allowed.")


class OutboundClient:
    """Thread-safe HTTP client with keep-alive; create one per process, after forking.

    For every exchange: the URL is parsed once and its name resolved once per connection; every address is checked, and
    the connection is made to a checked address, with the original name in Host, SNI and certificate check; no
    redirects, proxies, cookies or `.netrc`; TLS is verified; one deadline covers name resolution, connecting,
    handshake, sending, head and body; the decoded body is limited to `max_bytes`, the head to 64 kB.

    `allow` and `forbid`: see `addresses.AddressPolicy`; `resolve`: see `names.Resolver`; `ca_file` (PEM) is trusted in
    addition to the system's roots.
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
        self._policy = AddressPolicy(tuple(allow), frozenset(forbid))
        self._names = Names(resolve or SystemResolver())
        self._adapter = OutboundAdapter(tls_context(ca_file))
        self._watchdog = DeadlineWatchdog(self._adapter.close_stale)
        # Ask for no compression; a body that is compressed anyway is decoded under the same limit.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}

    def close(self) -> None:
        """Close every pooled connection and stop the watchdog; exchanges under way are cut off."""
        self._watchdog.close()
        self._adapter.close()

    def check_url(self, url: str, *, operator: bool = False) -> str:
        """Check whether a URL may be a target, without resolving its name. Returns the normalized URL.

        The addresses of a name are checked whenever a connection is made. `operator`: the URL comes from an operator,
        who may name hosts in the allowed networks. Raises `Refused`.
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
        params: Mapping[str, object] | Sequence[tuple[str, str]] = (),
        timeout: float,
        max_bytes: int,
        truncate: bool = False,
        call: Call | None = None,
        account: str | None = None,
    ) -> Answer:
        """Send one request and return the response.

        `timeout`: seconds for the whole exchange; `call`: a handle by which other threads may abort it; `account`: the
        account that chose the URL, if a user did. A body longer than `max_bytes` raises `ResponseTooLarge`, or is cut
        off if `truncate` is set.

        Raises:
            OutboundError: the exchange did not complete; see the subclasses in `errors`.
        """
        check_headers(headers)
        target = parse(url)
        prepared = Prepared(method, target.with_query(urlencode(params, doseq=True)), self._all(headers, body), body)
        with self._exchange(target, call or Call(), timeout, account) as exchange:
            read = partial(_read, max_bytes=max_bytes, truncate=truncate)
            return self._with_retry(exchange, partial(self._once, exchange, prepared, read))

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float,
        idle: float,
        max_bytes: int,
        call: Call | None = None,
    ) -> Iterator[StreamedAnswer]:
        """Send one request; inside the block, its body can be read as it arrives. As `request` in all else.

        `idle`: seconds that may pass without a byte of the body. Raises `OutboundError`.
        """
        check_headers(headers)
        target = parse(url)
        prepared = Prepared(method, target, self._all(headers, body), body)
        with self._exchange(target, call or Call(), timeout, None) as exchange:
            raw = self._with_retry(exchange, partial(self._begun, exchange, prepared))
            try:
                exchange.call.limit_reads(idle)
                yield streamed(raw, exchange.call, max_bytes)
            finally:
                _finish(raw)

    @contextmanager
    def _exchange(self, target: Target, call: Call, timeout: float, account: str | None) -> Iterator[Exchange]:
        exchange = Exchange(target, call, partial(self._dial, account=account), time.monotonic())
        token = current.set(exchange)
        self._watchdog.watch(call)
        try:
            call.begin(exchange.began + timeout)
            yield exchange
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
        """The addresses to connect to, after checking all of them."""
        addresses = self._own(target) or self._names.addresses(target.host, target.port, call, account)
        self._policy.check(target, addresses)
        return addresses

    def _own(self, target: Target) -> Sequence[Address]:
        """The addresses of a literal or of localhost, which need no resolver; empty for other names."""
        if target.literal is not None:
            return (target.literal,)
        if target.local:
            return [a for a in LOOPBACK if self._policy.permits(target, a)] or LOOPBACK
        return ()

    def _with_retry(self, exchange: Exchange, once: Callable[[], T]) -> T:
        """Retry once if a reused connection turned out to be dead before it accepted a single byte."""
        try:
            return once()
        except PeerUnreachable:
            if not exchange.reused or exchange.call.sent:
                raise
        return once()

    def _begun(self, exchange: Exchange, prepared: Prepared) -> HTTPResponse:
        """The response, once its head has been read."""
        try:
            raw: HTTPResponse = self._adapter.send(prepared, stream=True, timeout=exchange.call.remaining).raw
        except FAILURES as error:
            raise explained(error, exchange.call, None) from error
        return raw

    def _once(self, exchange: Exchange, prepared: Prepared, read: _Reader) -> Answer:
        raw = self._begun(exchange, prepared)
        try:
            body, truncated = read(raw)
            exchange.call.check()  # an aborted connection looks like the end of a body without a length
        except FAILURES as error:
            raise explained(error, exchange.call, raw) from error
        finally:
            _finish(raw)
        headers = {name.lower(): value for name, value in raw.headers.items()}
        return Answer(raw.status, headers, body, int((time.monotonic() - exchange.began) * 1000), truncated)


def _read(raw: HTTPResponse, max_bytes: int, truncate: bool) -> tuple[bytes, bool]:
    """Read the decoded body in chunks. `read1` keeps the limit even if the peer announces wrong chunk sizes."""
    body = bytearray()
    while piece := raw.read1(CHUNK, decode_content=True):
        body += piece
        if len(body) > max_bytes:
            if not truncate:
                raise ResponseTooLarge(sent=True, status=raw.status)
            return bytes(body[:max_bytes]), True
    return bytes(body), False


def _finish(raw: HTTPResponse) -> None:
    """Close a connection with unread data, which cannot be reused; urllib3 has already taken back the others."""
    if raw._connection is not None:
        raw.close()
        raw.release_conn()
