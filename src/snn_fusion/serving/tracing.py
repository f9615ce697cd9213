"""OpenTelemetry traces of requests, sent where OTEL_EXPORTER_OTLP_ENDPOINT says; without it nothing is made.

A request's span goes on from the caller's (`traceparent`), and holds three: queue, encode and infer. The other
variables of OpenTelemetry's SDK (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS ...) hold as it says.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from snn_fusion.stage_span import traced


class Tracing:
    """Spans by OTLP over HTTP."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = os.environ.get("OTEL_SERVICE_NAME", "snn-fusion")
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("snn_fusion.serving")

    @contextlib.contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """The span of a request; its name gets the route once that is known."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(method, context, SpanKind.SERVER) as span:
            yield span

    def parts(self, parts: Mapping[str, float]) -> None:
        """Spans of this request that follow each other (name: seconds), the last of which has just ended."""
        at = time.time_ns() - round(1e9 * sum(parts.values()))
        for name, seconds in parts.items():
            span = self._tracer.start_span(name, start_time=at)
            at += round(1e9 * seconds)
            span.end(end_time=at)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def tracing() -> Tracing | None:
    return Tracing() if traced() else None
