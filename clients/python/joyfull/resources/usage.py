"""What was used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from joyfull import models
from joyfull.errors import ConnectionFailed
from joyfull.exchange import Operation, Response, close, do, read
from joyfull.paging import Page
from joyfull.resource import many, one, request_of
from joyfull.retrying import call
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import UsageIndexQuery, UsageSummaryQuery


class UsageSurface(Surface):
    """What was used."""

    @listing
    def list(self, **filters: Unpack[UsageIndexQuery]) -> Operation[Page[models.UsageEntry]]:
        """An entry for each ended invocation, newest first."""
        return many(self._context, models.UsageEntry.of, request_of(self._context, "usage_index", query=filters))

    @operation
    def summary(self, **filters: Unpack[UsageSummaryQuery]) -> Operation[models.UsageReport]:
        """Totals, groups and a series; the current period unless told otherwise."""
        return one(self._context, models.UsageReport.of, request_of(self._context, "usage_summary", query=filters))

    @operation
    def forecast(self) -> Operation[models.Forecast]:
        """How long the budget lasts at the pace of the last days."""
        return one(self._context, models.Forecast.of, request_of(self._context, "forecasts_forecast"))

    @operation
    def export(
        self, path: Path, *, format: Literal["csv", "ndjson"] = "csv", **filters: Unpack[UsageIndexQuery]
    ) -> Operation[Path]:
        """Write every entry to a file, which is there only when it is whole."""
        query = {**filters, "format": format}
        request = replace(request_of(self._context, "usage_export", query=query), stream=True)
        request = replace(request, headers=(*request.headers, ("Accept", "*/*")))
        partial = path.with_name(f"{path.name}.part")
        for attempt in range(self._context.retries + 1):
            response = yield from call(self._context, request)
            try:
                yield from _write(response, partial)
            except ConnectionFailed:
                if attempt == self._context.retries:
                    raise
            else:
                break
        yield from do(lambda: partial.replace(path))
        return path


def _write(response: Response, path: Path) -> Operation[None]:
    with path.open("wb") as file:
        while part := (yield from read(response)):
            file.write(part)
    yield from close(response)


class Usage(UsageSurface, Synchronous):
    """What was used, of a `Client`."""


class AsyncUsage(UsageSurface, Asynchronous):
    """What was used, of an `AsyncClient`."""
