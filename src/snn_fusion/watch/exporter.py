"""The pipeline's metrics for Prometheus: what is read for each scrape, and what is asked meanwhile."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.watch.certificate import certificate_end
from snn_fusion.watch.families import Values, gauge
from snn_fusion.watch.keeping import backup_metrics, decision_metrics, disk_metrics
from snn_fusion.watch.latest import Latest
from snn_fusion.watch.registered import Registered, read_registry, registry_metrics
from snn_fusion.watch.stages import evaluation_metrics, target_metrics, training_metrics
from snn_fusion.workspace import Workspace

log = logging.getLogger("snn_fusion.watch")
REGISTRY_S, CERTIFICATE_S = 30.0, 600.0  # how often they are asked
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, SnnFusionError)


class Pipeline(Collector):
    """Files of the workspace are read for each scrape; registry and TLS servers, which may hang, in between."""

    def __init__(self, ws: Workspace, model: str, tls: Sequence[tuple[str, int]] = ()) -> None:
        self._sources: dict[str, Callable[[], Iterator[Metric]]] = {
            "training": partial(training_metrics, ws),
            "evaluation": partial(evaluation_metrics, ws),
            "targets": partial(target_metrics, ws),
            "promotions": partial(decision_metrics, ws, model),
            "backups": partial(backup_metrics, ws),
            "disk": partial(disk_metrics, ws),
        }
        self._registry = Latest[Registered]("registry", partial(read_registry, ws, model), REGISTRY_S)
        self._certificates = {
            f"{host}:{port}": Latest[float](
                f"certificate of {host}:{port}",
                partial(certificate_end, host, port),
                CERTIFICATE_S,
                stale_s=3 * CERTIFICATE_S,
            )
            for host, port in tls
        }
        self._problems: dict[str, str] = {}

    def collect(self) -> Iterator[Metric]:
        yield from self._asked()
        readable: dict[tuple[str, ...], float] = {}
        for name, read in self._sources.items():
            found: list[Metric] = []
            try:
                found.extend(read())
            except FileNotFoundError:  # that stage has not been run: there is nothing to tell
                continue
            except UNREADABLE as error:
                self._say(name, str(error) if isinstance(error, SnnFusionError) else f"{type(error).__name__}: {error}")
                readable[name,] = 0
            else:
                self._say(name, "")
                readable[name,] = 1
            yield from found
        yield gauge("source_readable", "1: this part of the workspace could be read", readable, ("source",))

    def _asked(self) -> Iterator[Metric]:
        registry = self._registry.ask()
        yield gauge("registry_reachable", "1: the registry (MLflow) answers", registry.current)
        if registry.value is not None and registry.at is not None:
            yield gauge("registry_read_timestamp_seconds", "When what is told of it was read", registry.at)
            yield from registry_metrics(registry.value)
        ends = {name: one.ask().value for name, one in self._certificates.items()}
        known: Values = {(name,): end for name, end in ends.items() if end is not None}
        text = "When the certificate that a TLS server shows ends"
        yield gauge("certificate_end_timestamp_seconds", text, known, ("endpoint",))

    def _say(self, source: str, problem: str) -> None:
        if problem != self._problems.get(source, ""):
            log.warning("%s: %s", source, problem or "can be read again")
        self._problems[source] = problem


def start(
    ws: Workspace, model: str, host: str, port: int, tls: Sequence[tuple[str, int]] = ()
) -> tuple[WSGIServer, Thread]:
    """Serve /metrics in a thread of its own; port 0: any free one. Raises BadInput if nothing can listen there."""
    registry = CollectorRegistry()
    registry.register(Pipeline(ws, model, tls))
    ProcessCollector(registry=registry)
    try:
        return start_http_server(port, host, registry)
    except OSError as error:
        raise BadInput(f"--port {port}", f"cannot listen on {host}: {error.strerror}", "name another one") from None


def export(ws: Workspace, model: str, host: str, port: int, tls: Sequence[tuple[str, int]] = ()) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises BadInput if nothing can listen there."""
    server, thread = start(ws, model, host, port, tls)
    with contextlib.suppress(KeyboardInterrupt):
        thread.join()
    server.shutdown()
    server.server_close()
