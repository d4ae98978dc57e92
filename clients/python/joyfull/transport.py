"""The only module that knows the HTTP client: one request in, one response or one of our errors out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import httpx

from joyfull.errors import BadResponse, ConnectionFailed, Timeout
from joyfull.exchange import Request, Response

#: The types of the HTTP client that `Client(http=...)` and `AsyncClient(http=...)` take.
SyncHttp = httpx.Client
AsyncHttp = httpx.AsyncClient
SyncStream = tuple[httpx.Response, Iterator[bytes], Request]
AsyncStream = tuple[httpx.Response, AsyncIterator[bytes], Request]
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class _Streamed(Protocol):
    """What of a response is asked here."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> httpx.Headers: ...


def _error(error: httpx.HTTPError, request: Request, where: str) -> ConnectionFailed:
    what = f"{request.method} {request.path} at {where}: {str(error) or type(error).__name__}"
    sent = not isinstance(error, _NOT_SENT)
    return (Timeout if isinstance(error, httpx.TimeoutException) else ConnectionFailed)(what, sent)


def _response(found: _Streamed, body: bytes = b"", stream: object = None) -> Response:
    headers = {name.lower(): value for name, value in found.headers.items()}
    return Response(found.status_code, headers, body, stream)


@contextmanager
def _translated(request: Request, base_url: str) -> Iterator[None]:
    try:
        yield
    except httpx.DecodingError as error:
        raise BadResponse(f"{request.method} {request.path}: {error}") from error
    except httpx.HTTPError as error:
        raise _error(error, request, httpx.URL(base_url).netloc.decode()) from error


class SyncTransport:
    """Sends requests with an `httpx.Client`."""

    def __init__(self, base_url: str, http: SyncHttp | None) -> None:
        self._base_url = base_url
        self._owned = http is None
        self._http = http or httpx.Client()

    def send(self, request: Request) -> Response:
        """Raises ConnectionFailed, Timeout, BadResponse."""
        with _translated(request, self._base_url):
            found = self._http.send(_prepared(self._http, self._base_url, request), stream=request.stream)
            if request.stream and found.status_code == 200:
                return _response(found, stream=(found, found.iter_bytes(), request))
            return _response(found, found.read())

    def read(self, stream: object) -> bytes:
        """The next bytes of a streamed response; none at its end."""
        _, parts, request = cast(SyncStream, stream)
        with _translated(request, self._base_url):
            return next(parts, b"")

    def close_stream(self, stream: object) -> None:
        """Give up what is left of a response."""
        cast(SyncStream, stream)[0].close()

    def close(self) -> None:
        """Close what was opened here."""
        if self._owned:
            self._http.close()


class AsyncTransport:
    """Sends requests with an `httpx.AsyncClient`."""

    def __init__(self, base_url: str, http: AsyncHttp | None) -> None:
        self._base_url = base_url
        self._owned = http is None
        self._http = http or httpx.AsyncClient()

    async def send(self, request: Request) -> Response:
        """Raises ConnectionFailed, Timeout, BadResponse."""
        with _translated(request, self._base_url):
            found = await self._http.send(_prepared(self._http, self._base_url, request), stream=request.stream)
            if request.stream and found.status_code == 200:
                return _response(found, stream=(found, found.aiter_bytes(), request))
            return _response(found, await found.aread())

    async def read(self, stream: object) -> bytes:
        """The next bytes of a streamed response; none at its end."""
        _, parts, request = cast(AsyncStream, stream)
        with _translated(request, self._base_url):
            return await anext(parts, b"")

    async def close_stream(self, stream: object) -> None:
        """Give up what is left of a response."""
        await cast(AsyncStream, stream)[0].aclose()

    async def close(self) -> None:
        """Close what was opened here."""
        if self._owned:
            await self._http.aclose()


def _prepared(http: SyncHttp | AsyncHttp, base_url: str, request: Request) -> httpx.Request:
    return http.build_request(
        request.method,
        base_url + request.path,
        params=list(request.query) or None,
        headers=dict(request.headers),
        content=request.body,
        timeout=request.timeout,
    )
