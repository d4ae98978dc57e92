"""What one version of a tool changed of the one before, field by field; documents line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice
from typing import Final

from common.tools import Version
from web.console import json_texts

#: What callers are concerned with.
PUBLIC: Final = (
    *(
        "price",
        "input_schema",
        "output_schema",
        "example_input",
        "timeout_seconds",
        "max_attempts",
        "idempotent",
        "streaming",
    ),
)
#: And what is for admins.
ALL: Final = (*("adapter", "method", "endpoint_url", "headers", "auth", "result_pointer"), *PUBLIC)
#: Longer documents are not compared line by line: that takes the square of their lines.
MOST_LINES: Final = 1_500
#: Characters of all lines that are shown of a field.
MOST_CHARS: Final = 6_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a document. `mark`: `-` taken away, `+` added, a space: it stays, `@`: lines are left out here."""

    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class ChangedField:
    """A field with another value. `lines`: of a document; if there are too many, or for a plain value, none."""

    name: str
    before: str
    after: str
    lines: Sequence[Line] = ()


def names(before: Version, after: Version, fields: Sequence[str]) -> list[str]:
    """The fields that differ."""
    return [name for name in fields if _written(before, name) != _written(after, name)]


def between(before: Version, after: Version, fields: Sequence[str]) -> list[ChangedField]:
    """The fields that differ, with both values."""
    return [_one(name, _written(before, name), _written(after, name)) for name in names(before, after, fields)]


def _one(name: str, before: str, after: str) -> ChangedField:
    was, is_now = before.split("\n"), after.split("\n")
    if len(was) == len(is_now) == 1:
        return ChangedField(name, before, after)
    if max(len(was), len(is_now)) > MOST_LINES:
        return ChangedField(name, f"{len(was):,} lines", f"{len(is_now):,} lines")
    return ChangedField(name, "", "", list(_lines(was, is_now)))


def _lines(was: Sequence[str], is_now: Sequence[str]) -> Iterator[Line]:
    left = MOST_CHARS
    for line in islice(unified_diff(was, is_now, lineterm="", n=3), 2, None):  # its head names files
        if line.startswith("@@ -1,"):
            continue  # nothing is left out before the first line
        left -= len(line)
        if left < 0:
            yield Line("@", "… more is left out")
            return
        yield Line("@", "…") if line.startswith("@@") else Line(line[0], line[1:])


def _written(version: Version, name: str) -> str:
    if name == "price":
        price = version.price
        return _json(
            {
                "base_tokens": price.base_tokens,
                "per_unit": price.per_unit,
                "max_tokens": price.max_tokens,
                "metered": price.metered,
            }
        )
    value = getattr(version, name)
    return value if isinstance(value, str) else "–" if value is None else _json(value)


def _json(value: object) -> str:
    return json_texts.indented(value)
