"""A command as one span of the trace that TRACEPARENT names: a DAG run's, or that of the request that asked for it.

Sent by OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT says, as the service's spans are; nothing is made without both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from snn_fusion.log_lines import context

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT = "TRACEPARENT"
SEND_S = 3  # for a collector that does not answer; the command waits for it


def traced() -> bool:
    """Whether spans are sent anywhere."""
    return any(os.environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def stage_span(name: str) -> Iterator[None]:
    """The span of `snn-fusion NAME`; one that fails says by what type of error, not its text."""
    parent = os.environ.get(PARENT)
    if not parent or not traced():
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    provider = TracerProvider(resource=Resource.create({"service.name": "snn-fusion-pipeline"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(timeout=SEND_S)))
    within = TraceContextTextMapPropagator().extract({"traceparent": parent})
    span = provider.get_tracer("snn_fusion").start_span(f"snn-fusion {name}", within, attributes=context())
    try:
        yield
    except SystemExit as ended:
        if ended.code not in (None, 0):
            span.set_status(StatusCode.ERROR, f"exit code {ended.code}")
        raise
    except BaseException as error:
        span.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()
        provider.shutdown()


def carried() -> dict[str, str]:
    """The variable of the environment with which a child process goes on with the current span; none without one."""
    if not traced():
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {PARENT: carrier["traceparent"]} if "traceparent" in carrier else {}
