"""Server-sent events (WHATWG HTML §9.2): an incremental parser of what others stream, and a writer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: The longest line, and the longest event, that is accepted, in bytes.
MAX_LINE: Final = 1024 * 1024
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class NotAnEventStream(ValueError):
    """An endless line, or not UTF-8."""


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event. `id` is the last one that was sent, as a client would resume with."""

    data: str
    name: str = "message"
    id: str = ""


class Parser:
    """Turns bytes, however they are cut, into events. An event that its stream does not complete is dropped."""

    def __init__(self) -> None:
        self._line_so_far = bytearray()
        self._begun = self._after_cr = False
        self._name = self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[SentEvent]:
        """The events that are complete with these bytes. Raises `NotAnEventStream`."""
        return [event for line in self._lines(piece) if (event := self._line(line)) is not None]

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if piece.endswith(b"\r"):
            self._after_cr = True
        ends, *begins = _LINE_END.split(piece)
        self._line_so_far += ends
        for begin in begins:
            line, self._line_so_far = bytes(self._line_so_far), bytearray(begin)
            yield self._checked(line)
        if len(self._line_so_far) > MAX_LINE:
            raise NotAnEventStream("a line is too long")

    def _checked(self, line: bytes) -> bytes:
        if len(line) > MAX_LINE:
            raise NotAnEventStream("a line is too long")
        begun, self._begun = self._begun, True
        return line if begun else line.removeprefix(_BYTE_ORDER_MARK)

    def _line(self, line: bytes) -> SentEvent | None:
        if not line:
            return self._dispatched()
        try:
            field, _, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise NotAnEventStream("it is not UTF-8") from None
        self._field(field, value.removeprefix(" "))
        return None

    def _field(self, field: str, value: str) -> None:
        if field == "data":
            self._size += len(value) + 1
            if self._size > MAX_LINE:
                raise NotAnEventStream("an event is too long")
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value

    def _dispatched(self) -> SentEvent | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        return SentEvent("\n".join(data), name or "message", self._id) if data else None


def written(name: str, data: str, id_: str) -> bytes:
    """One event, of data in one line."""
    return f"id: {id_}\nevent: {name}\ndata: {data}\n\n".encode()
