"""OpenTelemetry's side of `tracing`, which loads this module only in a process that exports spans.

Its packages are optional (`requirements-tracing.txt`); without them importing this module fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.kit.tracing import HEADER, Kind


class Spans:
    """The spans of one process, exported to `endpoint` in batches, from a thread of its own."""

    def __init__(self, endpoint: str, service: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": f"joyfull-{service}"}))
        out = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(out))
        self._tracer = self._provider.get_tracer("joyfull")

    def stop(self) -> None:
        """Export the remaining spans."""
        self._provider.shutdown()

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, str | int]) -> Iterator[None]:
        """A span around the block; `parent`: a valid traceparent."""
        with (
            self._tracer.start_as_current_span(
                name,
                context=_context(parent, kind),
                kind=trace.SpanKind[kind.upper()],
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as current,
            ExitStack() as end,
        ):
            end.push(partial(_note_error, current))
            yield

    def note(self, attributes: Mapping[str, str | int], failed: str | None, name: str | None) -> None:
        """Add attributes to the current span, rename it, or mark it as failed."""
        current = trace.get_current_span()
        current.set_attributes(attributes)
        if name is not None:
            current.update_name(name)
        if failed is not None:
            current.set_status(trace.Status(trace.StatusCode.ERROR, failed))

    def traceparent(self) -> str | None:
        """The current context for another process; None without a trace."""
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get(HEADER)


def _note_error(current: trace.Span, kind: type[BaseException] | None, *_: object) -> None:
    """Mark a span as failed when an exception ends it."""
    if kind is not None and issubclass(kind, Exception):
        current.set_status(trace.Status(trace.StatusCode.ERROR, kind.__name__))


def _context(parent: str | None, kind: Kind) -> Context | None:
    """The context of a new span; None for that of the enclosing span."""
    if parent is not None:
        return TraceContextTextMapPropagator().extract({HEADER: parent}, Context())
    return Context() if kind in {"server", "consumer"} else None
