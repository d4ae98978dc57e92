"""The usage history as a file: CSV (RFC 4180), or one JSON object per line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import orjson

from common.kit.clock import rfc3339
from common.usage.entries import Entry

COLUMNS: Final = (
    "id",
    "invocation_id",
    "tool",
    "status",
    "tokens_used",
    "latency_ms",
    "http_status",
    "api_key_id",
    "created_at",
    "api_key_root_id",
    "end_user",
)


def row_of(entry: Entry) -> dict[str, object]:
    """An entry ready for JSON, as the history shows it."""
    return {
        "id": str(entry.id),
        "invocation_id": str(entry.invocation_id),
        "tool": {"id": str(entry.tool.id), "slug": entry.tool.slug, "name": entry.tool.name},
        "status": entry.status,
        "tokens_used": entry.tokens_used,
        "latency_ms": entry.latency_ms,
        "http_status": entry.http_status,
        "api_key_id": None if entry.api_key_id is None else str(entry.api_key_id),
        "created_at": rfc3339(entry.created_at),
        "api_key_root_id": None if entry.api_key_root_id is None else str(entry.api_key_root_id),
        "end_user": entry.end_user,
    }


def ndjson(entries: Iterable[Entry]) -> Iterator[bytes]:
    """A line for each entry."""
    for entry in entries:
        yield orjson.dumps(row_of(entry), option=orjson.OPT_APPEND_NEWLINE)


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """A line for each entry, with the tool's slug, after a header line.

    No cell can be interpreted as a formula: each begins with a letter or digit. Only `end_user` is a word of the
    caller's: one that begins with anything else gets an apostrophe before it. The header line is yielded with the
    first entry, so that producing the first value has queried the database.
    """
    head = _line(COLUMNS)
    for entry in entries:
        shown: Mapping[str, object] = {**row_of(entry), "tool": entry.tool.slug, "end_user": _plain(entry.end_user)}
        yield head + _line([shown[name] for name in COLUMNS])
        head = ""
    if head:
        yield head


def _plain(word: str | None) -> str | None:
    return f"'{word}" if word and not word[0].isalnum() else word


def _line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
