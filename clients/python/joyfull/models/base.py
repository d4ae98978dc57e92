"""What every model has: it is made from JSON, keeps the JSON, and keeps what this version does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, ClassVar, Self

Decoder = Callable[[Any], Any]
Decoders = Mapping[str, Decoder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A JSON object of the API. Members that the server did not send are `None`."""

    #: The object as it was received.
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    _decoders: ClassVar[Decoders] = {}

    @classmethod
    def of(cls, raw: Any) -> Self:
        """The model of a JSON object; of a model, itself."""
        if isinstance(raw, cls):
            return raw
        values = {attribute: raw.get(name) for attribute, name in _members(cls)}
        for attribute, decode in cls._decoders.items():
            if values[attribute] is not None:
                values[attribute] = decode(values[attribute])
        return cls(raw=raw, **values)

    @property
    def extra(self) -> dict[str, Any]:
        """What the server sent and this version has no member for."""
        known = {name for _, name in _members(type(self))}
        return {name: value for name, value in self.raw.items() if name not in known}


def _members(kind: type[Model]) -> tuple[tuple[str, str], ...]:
    """Attribute and JSON name of each member: a trailing underscore is Python's, not the API's."""
    if kind not in _MEMBERS:
        _MEMBERS[kind] = tuple((each.name, each.name.removesuffix("_")) for each in fields(kind) if each.name != "raw")
    return _MEMBERS[kind]


_MEMBERS: dict[type[Model], tuple[tuple[str, str], ...]] = {}


def to_datetime(text: str) -> datetime:
    """A time of the API, always with its zone."""
    return datetime.fromisoformat(text)


def to_date(text: str) -> date:
    """A day of the API."""
    return date.fromisoformat(text)


def to_tuple(decode: Decoder) -> Decoder:
    """The decoder of a list."""
    return lambda items: tuple(map(decode, items))
