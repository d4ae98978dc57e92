"""Server-sent events, as the HTML standard has them (§9.2.6, "Interpreting an event stream")."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    id: str
    type: str
    data: str


class Parser:
    """Takes bytes as they come, cut anywhere; gives whole events. A half one at the end is no event."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line_so_far: list[str] = []
        self._after_cr = False
        self._data: list[str] = []
        self._type = self._id = ""

    def feed(self, part: bytes) -> Iterator[ServerEvent]:
        """The events that are complete with this part."""
        text = self._decoder.decode(part)
        if self._after_cr and text:  # which may have been half of a line's end
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr |= text.endswith("\r")
        ends, *begins = _LINE_END.split(text)
        self._line_so_far.append(ends)
        for begin in begins:
            line, self._line_so_far = "".join(self._line_so_far), [begin]
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[ServerEvent]:
        if not line:
            if self._data:
                yield ServerEvent(self._id, self._type or "message", "\n".join(self._data))
            self._data, self._type = [], ""
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
