"""The chunked transfer coding (RFC 9112 §7.1), decoded from bytes that may be cut anywhere.

urllib3 reads one chunk at a time, with several reads of a buffered file for each: for a model that sends every token in
a chunk of its own that costs more than everything else that is done with it.
"""

from __future__ import annotations

import re
from typing import Final

#: Chunk extensions and trailers are ignored, up to so many bytes in all.
MAX_IGNORED: Final = 64 * 1024
_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class Dechunker:
    """`done` after the last chunk and its trailers."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._in_data = self._in_trailers = False
        self._ignored = 0
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """What these bytes add to the body. Raises `ValueError` for what is no chunked body."""
        self._buffer += data
        decoded = bytearray()
        while not self.done and self._step(decoded):
            pass
        return bytes(decoded)

    def _step(self, decoded: bytearray) -> bool:
        """Take data of a chunk or a line out of the buffer; False when more has to come first."""
        if self._left:
            taken = self._buffer[: self._left]
            del self._buffer[: len(taken)]
            decoded += taken
            self._left -= len(taken)
            return bool(taken)
        end = self._buffer.find(b"\n")
        if end < 0:
            self._ignore(len(self._buffer), so_far=True)
            return False
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._line(line)
        return True

    def _line(self, line: bytes) -> None:
        if self._in_trailers:
            self._ignore(len(line))
            self.done = not line
        elif self._in_data:
            if line:
                raise ValueError("a chunk is longer than announced")
            self._in_data = False
        else:
            self._begin(line)

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise ValueError("invalid chunk size")
        self._ignore(max(0, len(line) - 16))
        self._left = int(size[1], 16)
        self._in_data, self._in_trailers = self._left > 0, self._left == 0

    def _ignore(self, size: int, *, so_far: bool = False) -> None:
        if self._ignored + size > MAX_IGNORED:
            raise ValueError("chunk extensions or trailers are too long")
        self._ignored += 0 if so_far else size
