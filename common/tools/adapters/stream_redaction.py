"""Redact credentials in a stream: text that may be the beginning of one is held back until what follows is known.

What was given out of a text is, at any time, how the redacted text begins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from common.kit import redaction
from common.kit.redaction import Decoded
from common.tools import streamed
from common.tools.streamed import Chunk, Json

#: Where a text is in its choice: names, and indexes of items in lists.
Path = tuple[str | int, ...]

#: An escape that more text may complete, or make another one: `%25` may become `%2541`, and `%C3` half a character.
_PERCENT: Final = "%(?:25){0,3}"
_HALF: Final = (
    rf"{_PERCENT}[c-fC-F][0-9a-fA-F]|{_PERCENT}[e-fE-F][0-9a-fA-F]{_PERCENT}[89abAB][0-9a-fA-F]"
    rf"|{_PERCENT}[fF][0-9a-fA-F](?:{_PERCENT}[89abAB][0-9a-fA-F]){{2}}"
)
_UNFINISHED: Final = re.compile(
    r"(?:\\{1,8}(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?|[ux]\{[0-9a-fA-F]{0,11})?"
    rf"|\\{{0,8}}(?:(?:{_HALF})(?:{_PERCENT}[0-9a-fA-F]?)?|{_PERCENT}[0-9a-fA-F]?"
    r"|&(?:amp;){0,3}(?:#(?:[0-9]{0,7}|[xX][0-9a-fA-F]{0,6})|[a-z]{0,4})))\Z"
)
#: Longer than any of these.
_ESCAPE: Final = 64
_ESCAPES: Final = frozenset("\\%&")


class Secrets:
    """Every form in which a credential is sent, prepared for being searched in many pieces."""

    def __init__(self, forms: Collection[str]) -> None:
        self.pattern = redaction.pattern_of(forms)
        #: By its last character: the size of every beginning, the longest first, and of which form it is one.
        self._beginnings: dict[str, list[tuple[int, str]]] = defaultdict(list)
        beginnings = ((size, form) for form in forms for size in range(1, len(form)))
        for size, form in sorted(beginnings, reverse=True):
            self._beginnings[form[size - 1]].append((size, form))

    def begun(self, text: str) -> int:
        """The length of the longest beginning of a secret that `text` ends with."""
        known = self._beginnings.get(text[-1:], ())
        return next((size for size, form in known if size <= len(text) and form.startswith(text[-size:])), 0)

    def settled(self, text: str) -> int:
        """How much of `text`, from its start, can be redacted as it is, whatever follows it."""
        end = len(text) - self.begun(text)
        spans = [match.span() for match in self.pattern.finditer(text)]
        if not _ESCAPES.isdisjoint(text):
            decoded = Decoded(text)
            spans += decoded.spans(self.pattern)
            end = min(end, self._begun(text, decoded), self._unfinished(text))
        for start, last in sorted(spans, reverse=True):
            if start < end < last:
                end = start
        return end

    def _begun(self, text: str, decoded: Decoded) -> int:
        """Where a secret may begin of which the last character is the last of the text."""
        size = self.begun(decoded.plain)
        return decoded.origin(len(decoded.plain) - size)[0] if size else len(text)

    def _unfinished(self, text: str) -> int:
        """Where a secret may begin that goes on with the escape in which the text breaks off."""
        found = _UNFINISHED.search(text, max(0, len(text) - _ESCAPE))
        return len(text) if found is None else self._begun(text[: found.start()], Decoded(text[: found.start()]))


class Pieces:
    """One text. `add` a piece and get what can be given out; `rest` is what was held back."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets, self._held = secrets, ""

    def add(self, piece: str) -> str:
        text = self._held + piece
        end = self._secrets.settled(text)
        self._held = text[end:]
        return self._redacted(text[:end])

    def rest(self) -> str:
        """Nothing follows."""
        held, self._held = self._held, ""
        return self._redacted(held)

    def _redacted(self, text: str) -> str:
        return str(redaction.redacted(text, self._secrets.pattern))


class Choices:
    """The choices of a stream, chunk by chunk. A text that is written on is a text in pieces; all else is whole."""

    def __init__(self, forms: Collection[str]) -> None:
        self._secrets = Secrets(forms)
        #: Of each choice, those that have not been given out to their end.
        self._texts: dict[int, dict[Path, Pieces]] = {}

    def redacted(self, choices: Sequence[Chunk]) -> list[Json]:
        """What can be given out. What was held back of a choice comes before its `finish_reason`."""
        return [given for choice in choices for given in self._given(choice)]

    def rest(self) -> list[Json]:
        """What is still held back: nothing follows."""
        return [text for index in list(self._texts) for text in self._rest(index)]

    def _given(self, choice: Chunk) -> list[Json]:
        index = streamed.index_of(choice)
        given = self._members(index, (), choice)
        if not choice.get("finish_reason"):
            return [given]
        rest = self._rest(index)
        if not rest:
            return [given]
        end = {"index": index, "delta": {}, "finish_reason": given["finish_reason"]}
        return [{**given, "finish_reason": None}, *rest, end]

    def _rest(self, index: int) -> list[Json]:
        texts = [(path, pieces.rest()) for path, pieces in self._texts.pop(index, {}).items()]
        return [{"index": index, **_at(path, text)} for path, text in texts if text]

    def _members(self, choice: int, path: Path, value: Mapping[str, object]) -> Json:
        pattern = self._secrets.pattern
        return {
            str(redaction.redacted(name, pattern)): self._value(choice, (*path, name), each)
            for name, each in value.items()
        }

    def _value(self, choice: int, path: Path, value: object) -> object:
        if isinstance(value, Mapping):
            return self._members(choice, path, value)
        if isinstance(value, list):
            return [self._item(choice, path, each) for each in value]
        if isinstance(value, str) and streamed.is_written_on(path[-1]):
            return self._texts.setdefault(choice, {}).setdefault(path, Pieces(self._secrets)).add(value)
        return redaction.redacted(value, self._secrets.pattern)

    def _item(self, choice: int, path: Path, each: object) -> object:
        """Those that have an index are written on, as `streamed.Assembly` does it."""
        index = each.get("index") if isinstance(each, Mapping) else None
        if isinstance(each, Mapping) and type(index) is int:
            return self._members(choice, (*path, index), each)
        return redaction.redacted(each, self._secrets.pattern)


def _at(path: Path, text: str) -> Json:
    """The text as the only one of a choice."""
    value: object = text
    for step in reversed(path):
        value = (
            {step: value} if isinstance(step, str) else [{"index": step, **value}] if isinstance(value, dict) else []
        )
    return value if isinstance(value, dict) else {}
