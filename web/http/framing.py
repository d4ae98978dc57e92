"""Limits on how a request is framed, in gunicorn's parser (HTTP/1.1, RFC 9112).

- The header fields of a request, with those behind its body (trailers), have at most `FIELD_BYTES` in all.
- A chunked body has at most `FRAMING_BYTES` beside its data, and a quarter of their size more: chunks of a byte cost a
  hundred times as much as the bytes in them. Between many small chunks other requests go on.

gunicorn loads this module before monkey-patching: of our own modules, import `connections` only.
"""

from __future__ import annotations

from typing import Final

from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import InvalidChunkSize, LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader

from web.http.connections import ClientSocket, let_others_run

FIELD_BYTES: Final = 32 * 1024
FRAMING_BYTES: Final = 32 * 1024
#: Bytes that are received at a time; the last ones of a head may belong to a body.
_RECEIVED: Final = 8 * 1024
#: After so many chunks others run, which is about a millisecond.
_CHUNKS: Final = 200


class LimitedRequest(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request whose fields are limited in total. Raises `LimitRequestHeaders`, for which gunicorn responds 431."""

    body: Body
    _field_bytes = 0

    def parse(self, unreader: SocketUnreader) -> bytes:
        """Read the head; returns what was received behind it."""
        self.max_buffer_headers = FIELD_BYTES + _RECEIVED
        rest: bytes = super().parse(unreader)
        return rest

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[tuple[str, str]]:
        """The fields of a head or trailer section."""
        self._field_bytes += len(data)
        if self._field_bytes > FIELD_BYTES:
            raise LimitRequestHeaders(f"fields of more than {FIELD_BYTES} bytes")
        fields: list[tuple[str, str]] = super().parse_headers(data, from_trailer)
        return fields

    def set_body_reader(self) -> None:
        """Choose how the body is read."""
        super().set_body_reader()
        if isinstance(self.body.reader, ChunkedReader):
            self.body = Body(_LimitedChunks(self, self.unreader))


class _LimitedChunks(ChunkedReader):  # type: ignore[misc]
    """A chunked body that may not have much more framing than data. Raises `InvalidChunkSize`."""

    def __init__(self, request: LimitedRequest, unreader: SocketUnreader) -> None:
        super().__init__(request, unreader)
        self._client: ClientSocket = unreader.sock
        self._received_before = self._client.received
        self._data = self._count = 0

    def parse_chunk_size(self, unreader: SocketUnreader, data: bytes | None = None) -> tuple[int, bytes | None]:
        """The size of the next chunk, and what was received behind the line that says it."""
        size: int
        size, rest = super().parse_chunk_size(unreader, data=data)
        self._data += size
        self._count += 1
        if self._count % _CHUNKS == 0:
            let_others_run()
        if self._client.received - self._received_before - self._data > FRAMING_BYTES + self._data // 4:
            raise InvalidChunkSize(b"%d chunks of %d bytes in all" % (self._count, self._data))
        return size, rest
