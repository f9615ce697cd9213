"""A collector of OpenTelemetry on loopback: what is sent to it by OTLP over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.http_server import http_server


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its endpoint, and the spans that have come."""
    spans: list[Any] = []

    def answer(_method: str, _path: str, body: bytes) -> tuple[int, bytes]:
        sent = ExportTraceServiceRequest.FromString(body)
        spans.extend(s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans)
        return 200, b""

    with http_server(answer) as url:
        yield url, spans


def until(spans: list[Any], holds: Callable[[Any], bool], seconds: float = 15) -> Any:
    """The span for which that holds, once it has come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := next((span for span in spans if holds(span)), None):
            return found
        time.sleep(0.05)
    raise AssertionError(f"not among {[span.name for span in spans]}")


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}
