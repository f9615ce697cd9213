"""A recording to its answer: from the cache, else from the champion or the challenger, in as many steps as there is
time for. What was left out on the way is in the answer and in the metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_fusion.data.recording import Sense, Signal
from snn_fusion.registry.versions import CHALLENGER, CHAMPION
from snn_fusion.serving import cache
from snn_fusion.serving.canary import Chosen
from snn_fusion.serving.model import Model
from snn_fusion.serving.predict import Answer, predict
from snn_fusion.serving.problems import Problem

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service

LOOK = 20  # answers of the challenger between two looks at its rates
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """`given` decodes the recording for a model; `digest` is of the request's content.

    `wanted`: which model, if the request says so; `share`: of the steps, where that is settled already.
    """

    given: Callable[[Model], Mapping[Sense, Signal]]
    digest: bytes
    wanted: str | None = None
    share: float | None = None


def share(service: Service) -> float:
    """The share of the steps that there is time for. Raises Problem 429 if there is none for the fewest."""
    try:
        return service.workers.share()
    except Problem:
        service.metrics.degraded.labels("refused").inc()
        raise


def steps_of(model: Model, share: float) -> int:
    """How many steps this share of them is: at least one."""
    return max(1, round(share * model.graph.encoding.steps))


async def answered(service: Service, asked: Asked, cached: bool = True) -> dict[str, Any]:
    """The answer's body. Raises Problem."""
    chosen = service.canary.choose(service.model, asked.digest, asked.wanted)
    if chosen.instead:
        service.metrics.degraded.labels("by_champion").inc()
    total = chosen.model.graph.encoding.steps
    if cached and (found := await _kept(service, chosen, asked, total)):
        return found
    steps = steps_of(chosen.model, asked.share or share(service))
    if cached and steps < total and (found := await _kept(service, chosen, asked, steps)):
        return found
    return await _computed(service, chosen, asked, steps, cached)


async def _kept(service: Service, chosen: Chosen, asked: Asked, steps: int) -> dict[str, Any] | None:
    found = await service.cache.get(cache.key(asked.digest, service.identity(chosen.model), steps))
    service.metrics.cache.labels("miss" if found is None else "hit").inc()
    if found is None:
        return None
    return {**found, "model": found["model"] | chosen.body(), "cached": True}


async def _computed(service: Service, chosen: Chosen, asked: Asked, steps: int, cached: bool) -> dict[str, Any]:
    try:
        waited, answer = await _run(service, chosen.model, asked, steps)
    except Exception as error:
        if chosen.role != CHALLENGER:
            raise
        instead = Chosen(CHAMPION, service.model, "it failed")
        found = await _computed(service, instead, asked, steps, cached)  # which raises if it is the request's fault
        service.canary.failed(error)
        service.metrics.failed.inc()
        service.metrics.degraded.labels("by_champion").inc()
        return found
    body = answer.body(chosen.model)
    _note(service, chosen, answer, waited)
    if chosen.role == CHALLENGER:
        service.later(_compared(service, asked, body, steps))
    timing = body.pop("timing_ms")
    if cached:
        await service.cache.put(cache.key(asked.digest, service.identity(chosen.model), steps), body)
    timing = {"queue": round(1000 * waited, 3), **timing}
    return {**body, "model": body["model"] | chosen.body(), "cached": False, "timing_ms": timing}


async def _run(service: Service, model: Model, asked: Asked, steps: int) -> tuple[float, Answer]:
    """Seconds in the queue, and the answer. Raises Problem, and ArithmeticError for scores that are no numbers."""
    since = time.perf_counter()

    def work() -> tuple[float, Answer]:
        waited = time.perf_counter() - since
        answer = predict(model, asked.given(model), steps)
        if not np.isfinite(answer.last.scores).all():
            raise ArithmeticError("scores are not finite")
        return waited, answer

    found: tuple[float, Answer] = await service.workers.run(work)
    return found


def streamed(service: Service, model: Model, answer: Answer) -> dict[str, Any]:
    """The body of a stream's last answer, which counts like any other.

    But for its time, which is that of many chunks and compares with no whole recording's.
    """
    chosen = Chosen(CHAMPION, model)
    service.metrics.answered(CHAMPION, model, answer)
    if model is service.model:  # else another took over meanwhile, and the rates that are kept are that one's
        _measure(service, chosen, answer, timed=False)
    body = answer.body(model)
    return {**body, "model": body["model"] | chosen.body()}


def _note(service: Service, chosen: Chosen, answer: Answer, waited: float) -> None:
    service.metrics.answered(chosen.role, chosen.model, answer)
    if service.tracing is not None:
        service.tracing.parts({"queue": waited, "encode": answer.encode_s, "infer": answer.infer_s})
    _measure(service, chosen, answer)


def _measure(service: Service, chosen: Chosen, answer: Answer, timed: bool = True) -> None:
    """Time and rates, of whole recordings only: those of fewer steps compare with nothing."""
    if answer.last.step < chosen.model.graph.encoding.steps:
        return
    if timed:
        service.canary.took(chosen.role, answer.encode_s + answer.infer_s)
    watch = service.watch(chosen.role, chosen.model)
    watch.add({s: answer.input_spikes[s] for s in answer.used}, answer.layer_spikes)
    if chosen.role == CHALLENGER and watch.added % LOOK == 0:
        service.canary.drifted(watch.found(), service.watch(CHAMPION, service.model).found())


async def _compared(service: Service, asked: Asked, challenger: dict[str, Any], steps: int) -> None:
    """What the champion says of the same recording; not when there is no time for it."""
    if service.workers.pressed or service.draining:
        return
    try:
        champion = Chosen(CHAMPION, service.model)
        _, answer = await _run(service, champion.model, asked, steps)
    except Exception as error:  # the request has its answer: this is for the log alone
        log.warning("canary: the champion gave no answer to compare: %s", type(error).__name__)
        return
    agree = service.canary.compare(challenger, answer.body(champion.model))
    service.metrics.compared.labels("yes" if agree else "no").inc()
    _measure(service, champion, answer)
