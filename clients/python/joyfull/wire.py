"""JSON and text as the API has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from joyfull.exchange import Response

#: What a JSON text says: as deep as it goes.
Json = Any


def rfc3339(moment: datetime) -> str:
    """A time in UTC. Raises ValueError without a time zone: the API would not know when that is."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: use datetime.now(UTC), or .astimezone()")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _special(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def encode(value: object) -> bytes:
    """A body. Raises TypeError or ValueError for what JSON does not have (NaN among them)."""
    return json.dumps(value, default=_special, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(body: bytes) -> Json:
    """What a body says. Raises ValueError."""
    return json.loads(body)


def parameters(filters: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """A query. None is left out, a list repeats its name, a mapping becomes `name[key]`."""
    found: list[tuple[str, str]] = []
    for attribute, value in filters.items():
        name = attribute.removesuffix("_")
        if isinstance(value, Mapping):
            found += [(f"{name}[{key}]", _text(each)) for key, each in value.items()]
        elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
            found += [(name, _text(each)) for each in value]
        elif value is not None:
            found.append((name, _text(value)))
    return tuple(found)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return rfc3339(value) if isinstance(value, datetime) else str(value)


def path(template: str, values: Mapping[str, str]) -> str:
    """A path with its placeholders filled in. Raises ValueError for an empty one, which would name something else."""
    for name, value in values.items():
        if not value or value in {".", ".."}:
            raise ValueError(f"{name} cannot be {value!r}")
    return template.format_map({name: quote(value, safe="") for name, value in values.items()})


def seconds(response: Response) -> float | None:
    """`Retry-After`, where it is a number: the API sends no dates."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
