"""A chat completion that is streamed: its chunks are put together to the answer that the same call gives unstreamed.

A *chunk* is one event of the tool's stream; it has `choices`, each a `delta` to the message of one index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Chunk = Mapping[str, object]
Json = dict[str, object]

#: Members of a message that are named, not written on: some tools repeat them in every chunk.
NAMED_ONCE: Final = frozenset(("role", "type", "id", "index", "name"))


#: Choices and items with an `index`, together, of an answer that a tool streams: each is kept until its end.
MAX_INDEXED: Final = 4_096


class TooManyIndexes(Exception):
    """More choices and items with an `index` than are accepted."""


class _Text(list[str]):
    """Text that is still written on, in pieces."""


class _Items(list[object]):
    """A list that is still written on, and those of its items that have an `index`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_index: dict[int, Json] = {}


class Assembly:
    """The answer that the chunks so far amount to. `usage`: the last that was reported; it is no part of `choices`.

    `most`: how many choices and items with an `index` it may have (None: any number).
    """

    def __init__(self, most: int | None = None) -> None:
        self.usage: object = None
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._most, self._indexed = most, 0

    def add(self, chunk: Chunk) -> None:
        """Add a chunk, whose `choices` are objects. Raises `TooManyIndexes`."""
        self.write(choices_of(chunk))
        for name, value in chunk.items():
            if name == "usage":
                self.usage = value or self.usage
            elif name not in ("object", "choices"):
                self._head.setdefault(name, value)

    def write(self, choices: Sequence[Chunk]) -> None:
        """Add the choices of a chunk, or of several. Raises `TooManyIndexes`."""
        for choice in choices:
            index = index_of(choice)
            if index not in self._choices:
                self._count()
                self._choices[index] = {"index": index, "message": {}, "finish_reason": None}
            changes = {name: value for name, value in choice.items() if name not in ("index", "delta")}
            self._write_on(self._choices[index], {**changes, "message": choice.get("delta")})

    @property
    def is_finished(self) -> bool:
        """Whether every choice has a `finish_reason`, and there is one."""
        return bool(self._choices) and all(choice["finish_reason"] for choice in self._choices.values())

    def choices(self) -> list[Json]:
        """Each choice so far, as one in which nothing is left to come."""
        return [_settled(self._choices[index]) for index in sorted(self._choices)]

    def whole(self) -> Json:
        """A `chat.completion`."""
        usage = {} if self.usage is None else {"usage": self.usage}
        return {**self._head, "object": "chat.completion", "choices": self.choices(), **usage}

    def _count(self) -> None:
        """One more has an index."""
        self._indexed += 1
        if self._most is not None and self._indexed > self._most:
            raise TooManyIndexes

    def _write_on(self, known: Json, changes: Mapping[str, object]) -> None:
        for name, value in changes.items():
            if value is not None or name not in known:
                known[name] = self._written_on(name, known.get(name), value)

    def _written_on(self, name: str, before: object, value: object) -> object:
        if isinstance(value, str) and is_written_on(name):
            text = before if isinstance(before, _Text) else _Text()
            text.append(value)
            return text
        if isinstance(value, Mapping):
            known: Json = before if isinstance(before, dict) else {}
            self._write_on(known, value)
            return known
        if isinstance(value, list):
            items = before if isinstance(before, _Items) else _Items()
            for each in value:
                self._enter(items, each)
            return items
        return before if name in NAMED_ONCE and before is not None else value

    def _enter(self, items: _Items, each: object) -> None:
        """An item with an `index` writes on the one that has it; another is new."""
        if not isinstance(each, Mapping):
            items.append(each)
            return
        index = each.get("index")
        known = items.by_index.get(index) if type(index) is int else None
        if known is None:
            known = {}
            items.append(known)
            if type(index) is int:
                self._count()
                items.by_index[index] = known
        self._write_on(known, each)


def choices_of(chunk: Chunk) -> Sequence[Chunk]:
    """Its choices; a chunk that only says what was used has none."""
    choices = chunk.get("choices")
    return choices if isinstance(choices, list) else ()


def index_of(choice: Chunk) -> int:
    """Which of the choices it belongs to."""
    index = choice.get("index")
    return index if type(index) is int else 0


def is_written_on(name: str | int) -> bool:
    """Whether a text of this name in a chunk goes on with the one before; others are named once."""
    return name not in NAMED_ONCE and name != "finish_reason"


def _settled(value: object) -> Json:
    """With every text in one piece."""
    settled = _joined(value)
    return settled if isinstance(settled, dict) else {}


def _joined(value: object) -> object:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(each) for name, each in value.items()}
    return [_joined(each) for each in value] if isinstance(value, list) else value


# -- what is shown together ------------------------------------------------------------------------------------------


class Pending:
    """Choices that wait to be shown: text of one index is merged, everything else is passed on as it came."""

    def __init__(self) -> None:
        self._entries: list[tuple[Chunk, list[str] | None]] = []
        self._written_on: dict[int, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, choices: Sequence[Chunk]) -> None:
        """Choices of the next chunk."""
        for choice in choices:
            index, text = index_of(choice), text_of(choice)
            if text is None:
                self._written_on.pop(index, None)
                self._entries.append((choice, None))
            elif index in self._written_on:
                self._written_on[index].append(text)
            else:
                self._written_on[index] = [text]
                self._entries.append((choice, self._written_on[index]))

    def take(self) -> list[Json]:
        """All that waits, in order; nothing does any more."""
        entries, self._entries, self._written_on = self._entries, [], {}
        return [_entry(choice, texts) for choice, texts in entries]


def text_of(choice: Chunk) -> str | None:
    """The text of a choice that has nothing else to say, not even that it is finished; None for any other."""
    delta = choice.get("delta") or {}
    if not isinstance(delta, Mapping):
        return None
    if any(value is not None for name, value in choice.items() if name not in ("index", "delta")):
        return None
    if any(value is not None for name, value in delta.items() if name not in ("role", "content")):
        return None
    content = delta.get("content")
    return "" if content is None else content if isinstance(content, str) else None


def _entry(choice: Chunk, texts: list[str] | None) -> Json:
    if texts is None:
        return dict(choice)
    delta = choice.get("delta")
    role = {"role": delta["role"]} if isinstance(delta, Mapping) and delta.get("role") else {}
    return {"index": index_of(choice), "delta": {**role, "content": "".join(texts)}}


def as_deltas(choices: Sequence[Chunk]) -> list[Json]:
    """Whole choices, as deltas to nothing."""
    return [
        {**{name: value for name, value in choice.items() if name != "message"}, "delta": choice.get("message")}
        for choice in choices
    ]
