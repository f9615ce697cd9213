"""What Prometheus reads at /metrics. Labels take few values: route templates, statuses, senses, layers and classes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from snn_fusion.control_group import memory
from snn_fusion.registry.rates import input_rates, layer_rates
from snn_fusion.registry.versions import CHAMPION
from snn_fusion.serving.model import Model
from snn_fusion.serving.predict import Answer

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)
RATES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5)
ACTIVE_S = 3600.0  # so long who asked counts as active
MOST_SUBJECTS = 100_000
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = one = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"snn_fusion_{name}", text, labels, registry=one)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"snn_fusion_{name}", text, labels, buckets=buckets, registry=one)

        self.requests = counter("requests", "Requests that were answered", "route", "status")
        self.request_s = histogram("request_seconds", "From a request's head to its answer's end", SECONDS, "route")
        self.queue_s = histogram("queue_seconds", "Waiting for a thread", SECONDS)
        self.encode_s = histogram("encode_seconds", "A recording to spikes", SECONDS, "role")
        self.infer_s = histogram("infer_seconds", "Spikes to an answer", SECONDS, "role")
        self.batch = histogram("batch_size", "Pieces of work that a thread took at once", SIZES)
        self.steps = histogram("steps_share", "Steps that an answer used, of all steps", SHARES)
        self.degraded = counter("degraded", "sense_rejected, fewer_steps, refused or by_champion", "how")
        self.rejected = counter("senses_rejected", "Senses that an answer left out", "sense")
        self.cache = counter("cache", "Look-ups of answers: hit, miss; failed: the cache is down", "result")
        self.input_rate = histogram("input_spike_rate", "Spikes of a recording a channel and step", RATES, "sense")
        self.layer_rate = histogram("layer_firing_rate", "Spikes of a recording a neuron and step", RATES, "layer")
        self.predicted = counter("predicted", "Answers that were computed, by class", "role", "label")
        self.compared = counter("canary_compared", "Answers of challenger and champion to one recording", "agree")
        self.failed = counter("challenger_failures", "Requests that the champion answered, for the challenger failed")
        self._subjects: dict[str, float] = {}  # when each last asked, the longest ago first
        self.streams = counter("streams", "Streams by how they ended: answered, refused, left or failed", "end")
        for end in ("answered", "refused", "left", "failed"):
            self.streams.labels(end)
        for how in ("sense_rejected", "fewer_steps", "refused", "by_champion"):
            self.degraded.labels(how)
        for result in ("hit", "miss", "failed"):
            self.cache.labels(result)

    def seen(self, subject: str) -> None:
        """Somebody with a token asked."""
        self._subjects.pop(subject, None)
        self._subjects[subject] = time.monotonic()
        while len(self._subjects) > MOST_SUBJECTS:
            del self._subjects[next(iter(self._subjects))]

    def subjects(self) -> int:
        """How many asked in the last hour."""
        since = time.monotonic() - ACTIVE_S
        while self._subjects and next(iter(self._subjects.values())) < since:
            del self._subjects[next(iter(self._subjects))]
        return len(self._subjects)

    def worked(self, waited: list[float]) -> None:
        """A thread has done a micro-batch; seconds that each piece of work waited."""
        self.batch.observe(len(waited))
        for seconds in waited:
            self.queue_s.observe(seconds)

    def answered(self, role: str, model: Model, answer: Answer) -> None:
        """A recording was answered by computing."""
        self.encode_s.labels(role).observe(answer.encode_s)
        self.infer_s.labels(role).observe(answer.infer_s)
        total = model.graph.encoding.steps
        self.steps.observe(answer.last.step / total)
        self.predicted.labels(role, answer.label(model)).inc()
        for sense in answer.rejected:
            self.rejected.labels(sense).inc()
        if answer.rejected:
            self.degraded.labels("sense_rejected").inc()
        if answer.last.step < total:
            self.degraded.labels("fewer_steps").inc()
        else:  # a rate is of a whole recording
            self._rates(model, answer)

    def _rates(self, model: Model, answer: Answer) -> None:
        for sense, rate in input_rates(model.graph, {s: answer.input_spikes[s] for s in answer.used}).items():
            self.input_rate.labels(sense).observe(rate)
        silent = set(model.graph.network.senses) - set(answer.used)  # their layers heard nothing
        for layer, rate in layer_rates(model.graph, answer.layer_spikes).items():
            if layer not in silent:
                self.layer_rate.labels(layer).observe(rate)


class State(Collector):
    """What is looked up when Prometheus asks: the models, what waits, and how far rates have drifted."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        service = self.service
        yield _gauge("streams_open", "Streams that are open", {(): service.sessions})
        yield _gauge("waiting", "Pieces of work that wait for a thread", {(): service.workers.waiting})
        yield _gauge("wait_seconds", "How long a newcomer would wait, estimated", {(): service.workers.wait})
        yield _gauge("ready", "1: /ready is green", {(): service.unready is None})
        models = service.models()
        yield _gauge(
            "model_info",
            "The models that are served",
            {(role, one.version, one.graph.digest[:12], one.arithmetic): 1 for role, one in models.items()},
            ("role", "version", "digest", "arithmetic"),
        )
        if found := memory():
            used, limit = found
            yield _gauge("memory_bytes", "Memory of the container, without cache that can be given back", {(): used})
            yield _gauge("memory_limit_bytes", "Memory that the container may have", {(): limit})
        text = "Identities that asked in the last hour, of this replica"
        yield _gauge("subjects_active", text, {(): service.metrics.subjects()})
        text = "When the model was loaded, Unix time"
        yield _gauge("model_loaded_timestamp_seconds", text, {(CHAMPION,): service.loaded_at}, ("role",))
        if service.follow is not None:
            text = "1: what the registry names now cannot be loaded, and the model from before answers"
            yield _gauge("load_failed", text, {(): service.follow.failed})
            yield _gauge("registry_reachable", "1: the registry answered last time", {(): service.follow.reachable})
        if service.canary.challenger is not None:
            yield _gauge("canary_stopped", "1: the champion answers all", {(): service.canary.stopped is not None})
        yield from self._drift(models)

    def _drift(self, models: Mapping[str, Model]) -> Iterator[Metric]:
        """Absent where there is no profile, or too few recordings yet."""
        found = {
            (role, one.sense, one.measurement): one
            for role, model in models.items()
            for one in self.service.watch(role, model).found()
        }
        labels = ("role", "view", "measurement")
        if found:
            text = "Population stability index of rates of spikes, requests against training"
            yield _gauge("drift_psi", text, {key: one.psi for key, one in found.items()}, labels)
            text = "The index up to which it is no drift"
            yield _gauge("drift_limit", text, {key: one.limit for key, one in found.items()}, labels)


def _gauge(
    name: str, text: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"snn_fusion_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


async def exposed(request: Request) -> Response:
    """All of it as Prometheus reads it."""
    metrics: Metrics = request.app.state.service.metrics
    return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
