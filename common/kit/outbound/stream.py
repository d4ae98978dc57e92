"""A response whose body is handed on as it arrives, under the same rules as one that is read whole."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from urllib3 import HTTPResponse

from common.kit.outbound.dechunking import Dechunker
from common.kit.outbound.errors import OutboundError, ResponseTooLarge
from common.kit.outbound.translating import FAILURES, explained
from common.kit.outbound.watch import Call

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """The head of a response, and its decoded body in pieces: all that has come, at each read.

    `headers` have lower-case names. Reading the pieces raises `OutboundError`.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


def streamed(raw: HTTPResponse, call: Call, max_bytes: int) -> StreamedAnswer:
    """The response whose head has been read."""
    headers = {name.lower(): value for name, value in raw.headers.items()}
    return StreamedAnswer(raw.status, headers, _pieces(raw, call, max_bytes))


def _pieces(raw: HTTPResponse, call: Call, max_bytes: int) -> Iterator[bytes]:
    size = 0
    try:
        for piece in _decoded(raw):
            size += len(piece)
            if size > max_bytes:
                raise ResponseTooLarge(sent=True, status=raw.status)
            yield piece
        call.check()  # an aborted connection looks like the end of a body without a length
    except OutboundError:
        raise
    except (*FAILURES, http.client.HTTPException) as error:
        raise explained(error, call, raw) from error


def _decoded(raw: HTTPResponse) -> Iterator[bytes]:
    if raw.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _read(lambda: raw.read1(PIECE, decode_content=True))
    head = raw._fp
    if head is None or head.fp is None:
        return iter(())
    read = head.fp.read1
    if raw.chunked:
        return _dechunked(read)
    return _read(lambda: read(PIECE)) if head.length is None else _counted(read, head.length)


def _read(read: Callable[[], bytes]) -> Iterator[bytes]:
    while piece := read():
        yield piece


def _counted(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    while length > 0:
        piece = read(min(PIECE, length))
        if not piece:
            raise http.client.IncompleteRead(b"", length)
        length -= len(piece)
        yield piece


def _dechunked(read: Callable[[int], bytes]) -> Iterator[bytes]:
    chunks = Dechunker()
    while not chunks.done:
        data = read(PIECE)
        if not data:
            raise http.client.IncompleteRead(b"")
        if piece := chunks.feed(data):
            yield piece
