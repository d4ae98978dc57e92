"""The usage history as a file: CSV, or an object per line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import marshmallow as ma
import orjson
from flask import Response

from common.usage import Entry

COLUMNS = (
    "id",
    "invocation_id",
    "tool",
    "status",
    "tokens_used",
    "latency_ms",
    "http_status",
    "api_key_id",
    "created_at",
)
#: By media type.
FORMATS = {"text/csv": "csv", "application/x-ndjson": "ndjson"}


def response(entries: Iterable[Entry], form: str, schema: ma.Schema) -> Response:
    """The entries, each as `schema` shows it, streamed as a file in that form (`csv`, `ndjson`)."""
    shown = ((entry, schema.dump(entry)) for entry in entries)
    lines, media_type = (_csv(shown), "text/csv") if form == "csv" else (_ndjson(shown), "application/x-ndjson")
    streamed = Response(lines, content_type=f"{media_type}; charset=utf-8")
    streamed.headers["Content-Disposition"] = f'attachment; filename="usage.{form}"'
    streamed.headers["Vary"] = "Accept"
    return streamed


def _ndjson(entries: Iterable[tuple[Entry, dict[str, object]]]) -> Iterator[bytes]:
    for _, shown in entries:
        yield orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def _csv(entries: Iterable[tuple[Entry, dict[str, object]]]) -> Iterator[str]:
    """CSV (RFC 4180). No cell can be interpreted as a formula: each begins with a letter or digit.

    The header line is yielded with the first entry, so that producing the first value has queried the database.
    """
    head = _line(COLUMNS)
    for entry, shown in entries:
        yield head + _line([entry.tool.slug if name == "tool" else shown[name] for name in COLUMNS])
        head = ""
    if head:
        yield head


def _line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
