"""A chat completion that is streamed: its chunks are put together to the answer that the same call gives unstreamed.

A *chunk* is one event of the tool's stream; it has `choices`, each a `delta` to the message of one index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Chunk = Mapping[str, object]
Json = dict[str, object]

#: Members of a message that are named, not written on: some tools repeat them in every chunk.
_ONCE: Final = frozenset(("role", "type", "id", "index", "name"))


class _Text(list[str]):
    """Text that is still written on, in pieces."""


class Assembly:
    """The answer that the chunks so far amount to. `usage`: the last that was reported; it is no part of `choices`."""

    def __init__(self) -> None:
        self.usage: object = None
        self._head: Json = {}
        self._choices: dict[int, Json] = {}

    def add(self, chunk: Chunk) -> None:
        """Add a chunk, whose `choices` are objects."""
        self.write(choices_of(chunk))
        for name, value in chunk.items():
            if name == "usage":
                self.usage = value or self.usage
            elif name not in ("object", "choices"):
                self._head.setdefault(name, value)

    def write(self, choices: Sequence[Chunk]) -> None:
        """Add the choices of a chunk, or of several."""
        for choice in choices:
            index = index_of(choice)
            known = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
            changes = {name: value for name, value in choice.items() if name not in ("index", "delta")}
            _write_on(known, {**changes, "message": choice.get("delta")})

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
    return name not in _ONCE and name != "finish_reason"


def _write_on(known: Json, changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if value is not None or name not in known:
            known[name] = _written_on(name, known.get(name), value)


def _written_on(name: str, before: object, value: object) -> object:
    if isinstance(value, str) and is_written_on(name):
        text = before if isinstance(before, _Text) else _Text()
        text.append(value)
        return text
    if isinstance(value, Mapping):
        known: Json = before if isinstance(before, dict) else {}
        _write_on(known, value)
        return known
    if isinstance(value, list):
        listed: list[object] = before if isinstance(before, list) and not isinstance(before, _Text) else []
        for each in value:
            _enter(listed, each)
        return listed
    return before if name in _ONCE and before is not None else value


def _enter(listed: list[object], each: object) -> None:
    """An item with an `index` writes on the one that has it; another is new."""
    if not isinstance(each, Mapping):
        listed.append(each)
        return
    index = each.get("index")
    of_index = (known for known in listed if isinstance(known, dict) and known.get("index") == index)
    known = next(of_index, None) if type(index) is int else None
    if known is None:
        known = {}
        listed.append(known)
    _write_on(known, each)


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


# -- what somebody lacks ---------------------------------------------------------------------------------------------


class Contradicted(Exception):
    """What was shown is not how the answer begins."""


def missing(shown: Sequence[Chunk], whole: Sequence[Chunk]) -> list[Json]:
    """The choices that have to be written on with to make `whole` of what was `shown`; both are whole choices.

    Nothing, where more was shown. Raises `Contradicted`.
    """
    known = {index_of(choice): choice for choice in shown}
    found = [(each, _more({}, known.get(index_of(each), {}), each)) for each in whole]
    return [_as_delta(index_of(each), more) for each, more in found if more]


def _as_delta(index: int, more: Json) -> Json:
    rest = {name: value for name, value in more.items() if name not in ("index", "message")}
    return {"index": index, "delta": more.get("message") or {}, **rest}


def _more(named: Json, before: object, now: Chunk) -> Json:
    """The members in which an object has grown; if there are any, beside what it is `named` by."""
    known = before if isinstance(before, Mapping) else {}
    changes = {name: more for name, value in now.items() if (more := _grown(name, known.get(name), value)) is not None}
    return {**named, **changes} if changes else {}


def _grown(name: str, before: object, now: object) -> object:
    """What a member has more than before; None: nothing."""
    if before is None or before == now:
        return None if before == now else now
    if isinstance(now, Mapping):
        return _more({}, before, now) or None
    if isinstance(now, str) and isinstance(before, str) and name not in _ONCE and name != "finish_reason":
        if not now.startswith(before) and not before.startswith(now):
            raise Contradicted
        return now[len(before) :] or None
    if isinstance(now, list) and isinstance(before, list):
        return _added(before, now) or None
    return None if name in _ONCE else now


def _added(before: list[object], now: list[object]) -> list[object]:
    """Items that have come, and what has come to those with an `index`."""
    found: list[object] = []
    for place, each in enumerate(now):
        known = before[place] if place < len(before) else None
        if isinstance(each, Mapping) and isinstance(known, Mapping) and type(each.get("index")) is int:
            more = _more({"index": each["index"]}, {**known}, each)
            found += [more] if more else []
        elif place >= len(before):
            found.append(each)
    return found
