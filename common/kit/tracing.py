"""OpenTelemetry traces from the request through the queue and the tool call to the webhook.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is imported, every `span` is a no-op and no header is sent. With it, spans
are exported to `<endpoint>/v1/traces` (OTLP over HTTP, in batches, from a separate thread: an unavailable collector
loses spans but delays nothing). Sampling and the rest use OpenTelemetry's own variables (OTEL_TRACES_SAMPLER, …).

Processes pass on the context as `traceparent` (https://www.w3.org/TR/trace-context/, version 00). Spans contain ids,
names and statuses: no input, output, URL or secret.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from common.kit.spans import Spans

Kind = Literal["server", "client", "consumer", "producer"]
#: The format of version 00; all-zero ids are invalid.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
HEADER: Final = "traceparent"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class NotInstalled(Exception):
    """OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages of requirements-tracing.txt are missing."""


class _TracingState:
    spans: Spans | None = None


def configure(endpoint: str | None, service: str) -> None:
    """Start tracing this process, unless `endpoint` is None. Call it after forking, never before.

    Raises `NotInstalled`.
    """
    stop()
    if endpoint is None:
        return
    try:
        spans = importlib.import_module("common.kit.spans")
    except ModuleNotFoundError as error:
        raise NotInstalled(f"tracing needs requirements-tracing.txt ({error.name} is not installed)") from error
    _TracingState.spans = spans.Spans(endpoint, service)


def stop() -> None:
    """Export the remaining spans and stop tracing."""
    if _TracingState.spans is not None:
        _TracingState.spans.stop()
        _TracingState.spans = None


def enabled() -> bool:
    """Whether this process sends traces."""
    return _TracingState.spans is not None


def span(
    name: str, kind: Kind, parent: str | None = None, **attributes: str | int | None
) -> AbstractContextManager[None]:
    """A span around the block. `parent`: the received traceparent. Without one, server and consumer spans start a new
    trace, and client and producer spans belong to the enclosing span.

    An exception that leaves the block is recorded by its class name only: its message may contain user data.
    """
    if _TracingState.spans is None:
        return _NOTHING
    valid = parent if parent is not None and TRACEPARENT.fullmatch(parent) else None
    known = {key: value for key, value in attributes.items() if value is not None}
    return _TracingState.spans.span(name, kind, valid, known)


def note(
    attributes: Mapping[str, str | int] | None = None, *, failed: str | None = None, name: str | None = None
) -> None:
    """Add attributes to the current span, rename it, or mark it as failed with a reason."""
    if _TracingState.spans is not None:
        _TracingState.spans.note(attributes or {}, failed, name)


def traceparent() -> str | None:
    """The current trace context for another process; None without a trace."""
    return None if _TracingState.spans is None else _TracingState.spans.traceparent()


def headers() -> dict[str, str]:
    """The header for a request made inside a span; empty without a trace."""
    current = traceparent()
    return {} if current is None else {HEADER: current}
