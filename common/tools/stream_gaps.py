"""What somebody lacks who has been shown part of a streamed answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.tools import streamed
from common.tools.streamed import Chunk, Json


class Contradicted(Exception):
    """What was shown is not how the answer begins."""


def missing(shown: Sequence[Chunk], whole: Sequence[Chunk]) -> list[Json]:
    """The choices that have to be written on with to make `whole` of what was `shown`; both are whole choices.

    Nothing, where more was shown. Raises `Contradicted`.
    """
    known = {streamed.index_of(choice): choice for choice in shown}
    found = [(each, _more({}, known.get(streamed.index_of(each), {}), each)) for each in whole]
    return [_as_delta(streamed.index_of(each), more) for each, more in found if more]


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
    if isinstance(now, str) and isinstance(before, str) and streamed.is_written_on(name):
        if not now.startswith(before) and not before.startswith(now):
            raise Contradicted
        return now[len(before) :] or None
    if isinstance(now, list) and isinstance(before, list):
        return _added(before, now) or None
    return None if name in streamed.NAMED_ONCE else now


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
