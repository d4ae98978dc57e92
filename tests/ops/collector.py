"""An OpenTelemetry collector: takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import asyncio
import gzip
import time
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.outside.server import Request, Server, answer


@dataclass(frozen=True, slots=True)
class Span:
    """Ids are lower-case hex; `parent` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]


class Collector(Server):
    """`collector.url` is what OTEL_EXPORTER_OTLP_ENDPOINT wants."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.silent = False
        self.bodies: list[bytes] = []
        self._spans: list[Span] = []

    def __enter__(self) -> Collector:
        super().__enter__()
        return self

    def trace_of(self, invocation_id: str, *names: str, timeout: float = 30.0) -> list[Span]:
        """The spans of these names in the trace that ran this invocation, once all are there. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while True:
            spans = list(self._spans)
            trace = {span.trace for span in spans if span.attributes.get("invocation_id") == invocation_id}
            found = {span.name: span for span in spans if span.trace in trace}
            if found.keys() >= set(names):
                return [found[name] for name in names]
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {names} only {sorted(found)} came")
            time.sleep(0.05)

    def span(self, span_id: str, timeout: float = 60.0) -> Span:
        """The span with this id, once it has come. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while not (found := [span for span in list(self._spans) if span.id == span_id]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"span {span_id} is not among {[(each.name, each.id) for each in self._spans]}")
            time.sleep(0.05)
        return found[0]

    async def _take(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600 if self.silent else 0)
        packed = request.header("Content-Encoding") == "gzip"
        body = gzip.decompress(request.body) if packed else request.body
        self.bodies.append(body)
        if request.path == "/v1/traces":
            self._spans += _spans(ExportTraceServiceRequest.FromString(body))
        writer.write(answer(200, b"", headers={"Content-Type": "application/x-protobuf"}))


def _spans(message: Any) -> list[Span]:
    return [
        Span(
            service=_values(resource.resource.attributes)["service.name"],
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
            attributes=_values(span.attributes),
        )
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
