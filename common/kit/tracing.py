"""Traces for OpenTelemetry: from the request through the queue and the tool's call to the webhook.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is imported, every `span` is the same empty block and no header is sent.
With it, spans go to `<endpoint>/v1/traces` (OTLP over HTTP, in batches, from a thread of its own: a collector that is
away costs spans, never time). Sampling and the rest are set by OpenTelemetry's own variables (OTEL_TRACES_SAMPLER, …).

What goes along between processes is a `traceparent` (https://www.w3.org/TR/trace-context/, version 00). Spans hold
ids, names and statuses: no input, no output, no URL, no secret.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Literal

Kind = Literal["server", "client", "consumer", "producer"]
#: The only form of version 00; a parent of zeros is none.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
HEADER: Final = "traceparent"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class NotInstalled(Exception):
    """OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages of requirements-tracing.txt are missing."""


class _State:
    tracer: Any = None
    provider: Any = None


def configure(endpoint: str | None, service: str) -> None:
    """Begin to trace this process, or not. After forking, never before. Raises `NotInstalled`."""
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
    """Send what is left, and trace no more."""
    if _State.provider is not None:
        _State.provider.shutdown()
        _State.provider = _State.tracer = None


def enabled() -> bool:
    return _State.tracer is not None


def span(
    name: str, kind: Kind, parent: str | None = None, **attributes: str | int | None
) -> AbstractContextManager[None]:
    """Around a piece of work. `parent`: the traceparent that came along. Without one, what was asked for from outside
    (server, consumer) begins a trace, and what goes out (client, producer) belongs to the span around it.

    An exception that leaves the block is noted by its name alone: what it says may hold what a user sent.
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
    """None: that of the span around."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if parent is not None and TRACEPARENT.fullmatch(parent):
        return TraceContextTextMapPropagator().extract({HEADER: parent}, Context())
    return Context() if kind in {"server", "consumer"} else None


def note(
    attributes: Mapping[str, str | int] | None = None, *, failed: str | None = None, name: str | None = None
) -> None:
    """Say more of the current span: attributes, a better name, or that (and why) it failed."""
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
    """What another process needs in order to go on with this trace; None when there is none."""
    if _State.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)


def headers() -> dict[str, str]:
    """The header to send along with a request made inside a span; none when there is no trace."""
    current = traceparent()
    return {} if current is None else {HEADER: current}
