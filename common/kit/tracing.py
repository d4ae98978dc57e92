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
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Literal

Kind = Literal["server", "client", "consumer", "producer"]
#: The format of version 00; all-zero ids are invalid.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
HEADER: Final = "traceparent"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class NotInstalled(Exception):
    """OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages of requirements-tracing.txt are missing."""


class _State:
    tracer: Any = None
    provider: Any = None


def configure(endpoint: str | None, service: str) -> None:
    """Start tracing this process, unless `endpoint` is None. Call it after forking, never before.

    Raises `NotInstalled`.
    """
    stop()
    if endpoint is None:
        return
    try:
        exporter, resources, sdk, export = map(
            importlib.import_module,
            (
                "opentelemetry.exporter.otlp.proto.http.trace_exporter",
                "opentelemetry.sdk.resources",
                "opentelemetry.sdk.trace",
                "opentelemetry.sdk.trace.export",
            ),
        )
    except ModuleNotFoundError as error:
        raise NotInstalled(f"tracing needs requirements-tracing.txt ({error.name} is not installed)") from error
    resource = resources.Resource.create({"service.name": f"joyfull-{service}"})
    provider = sdk.TracerProvider(resource=resource)
    out = exporter.OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(export.BatchSpanProcessor(out))
    _State.provider, _State.tracer = provider, provider.get_tracer("joyfull")


def stop() -> None:
    """Export the remaining spans and stop tracing."""
    if _State.provider is not None:
        _State.provider.shutdown()
        _State.provider = _State.tracer = None


def enabled() -> bool:
    return _State.tracer is not None


def span(
    name: str, kind: Kind, parent: str | None = None, **attributes: str | int | None
) -> AbstractContextManager[None]:
    """A span around the block. `parent`: the received traceparent. Without one, server and consumer spans start a new
    trace, and client and producer spans belong to the enclosing span.

    An exception that leaves the block is recorded by its class name only: its message may contain user data.
    """
    if _State.tracer is None:
        return _NOTHING
    return _span(name, kind, parent, attributes)


@contextmanager
def _span(name: str, kind: Kind, parent: str | None, attributes: dict[str, str | int | None]) -> Iterator[None]:
    from opentelemetry import trace

    known = {key: value for key, value in attributes.items() if value is not None}
    with _State.tracer.start_as_current_span(
        name,
        context=_context(parent, kind),
        kind=trace.SpanKind[kind.upper()],
        attributes=known,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
            raise


def _context(parent: str | None, kind: Kind) -> Any:
    """The context of a new span; None for that of the enclosing span."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if parent is not None and TRACEPARENT.fullmatch(parent):
        return TraceContextTextMapPropagator().extract({HEADER: parent}, Context())
    return Context() if kind in {"server", "consumer"} else None


def note(
    attributes: Mapping[str, str | int] | None = None, *, failed: str | None = None, name: str | None = None
) -> None:
    """Add attributes to the current span, rename it, or mark it as failed with a reason."""
    if _State.tracer is None:
        return
    from opentelemetry import trace

    current = trace.get_current_span()
    current.set_attributes(attributes or {})
    if name is not None:
        current.update_name(name)
    if failed is not None:
        current.set_status(trace.Status(trace.StatusCode.ERROR, failed))


def traceparent() -> str | None:
    """The current trace context for another process; None without a trace."""
    if _State.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)


def headers() -> dict[str, str]:
    """The header for a request made inside a span; empty without a trace."""
    current = traceparent()
    return {} if current is None else {HEADER: current}
