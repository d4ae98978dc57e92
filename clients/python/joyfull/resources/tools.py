"""The catalogue of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import many, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import ToolsIndexQuery, ToolsVersionsQuery


class ToolsSurface(Surface):
    """The catalogue of tools."""

    @listing
    def list(self, **filters: Unpack[ToolsIndexQuery]) -> Operation[Page[models.ToolSummary]]:
        """The active tools."""
        return many(self._context, models.ToolSummary.of, request_of(self._context, "tools_index", query=filters))

    @operation
    def get(self, tool: str, *, version: int | None = None) -> Operation[models.Tool]:
        """One tool, by slug or id; the current version unless another is named."""
        request = request_of(self._context, "tools_show", {"tool": tool}, query={"version": version})
        return one(self._context, models.Tool.of, request)

    @listing
    def versions(self, tool: str, **filters: Unpack[ToolsVersionsQuery]) -> Operation[Page[models.Version]]:
        """Every version that an invocation can name, newest first."""
        request = request_of(self._context, "tools_versions", {"tool": tool}, query=filters)
        return many(self._context, models.Version.of, request)

    @operation
    def quote(self, tool: str, input: object, *, max_tokens: int | None = None) -> Operation[models.Quote]:
        """Check an input and price it. Nothing is charged, and nothing is kept free."""
        body = {"input": input} | ({} if max_tokens is None else {"max_tokens": max_tokens})
        return one(self._context, models.Quote.of, request_of(self._context, "tools_quote", {"tool": tool}, body=body))


class Tools(ToolsSurface, Synchronous):
    """The catalogue of tools, of a `Client`."""


class AsyncTools(ToolsSurface, Asynchronous):
    """The catalogue of tools, of an `AsyncClient`."""
