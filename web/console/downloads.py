"""What is offered as a file: JSON, and tables as CSV that spreadsheets may open (no cell is taken for a formula)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from flask import Response

#: A cell that begins with one of these is taken for a formula by spreadsheets.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_file(name: str, rows: Iterable[Sequence[object]]) -> Response:
    """A CSV file. Text that begins as a formula does gets an apostrophe in front; numbers stay numbers."""
    written = io.StringIO()
    csv.writer(written).writerows([[_cell(each) for each in row] for row in rows])
    response = Response(written.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def json_file(name: str, text: str | None) -> Response:
    """JSON text as a file; without any, `null`."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text or "null", content_type="application/json", headers=headers)


def streamed(name: str, lines: Iterable[str] | Iterable[bytes]) -> Response:
    """A file that is sent line by line: CSV, or an object per line, by its name."""
    media_type = "text/csv" if name.endswith(".csv") else "application/x-ndjson"
    response = Response(lines, content_type=f"{media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
