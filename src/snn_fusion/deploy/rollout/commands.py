"""`snn-fusion deploy` on Compose: all that is checked before anything is changed, then one of the ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from snn_fusion.deploy import stack as stacks
from snn_fusion.deploy.engine import GOOD, Stack, condition
from snn_fusion.deploy.options import Options, state_folder
from snn_fusion.deploy.rollout import image, smoke, watch, ways
from snn_fusion.deploy.rollout.fleet import DockerFleet
from snn_fusion.deploy.rollout.live import Live, Release, exclusive
from snn_fusion.deploy.rollout.ways import Baseline, Target, Update
from snn_fusion.errors import BadInput

NEEDED = ("nginx", "postgres", "redis", "mlflow")
BASELINE_S = 20.0  # for which the old set is observed before the update
Say = Callable[[str], None]


def rolling(name: str, watch_s: float, say: Say) -> dict[str, Any]:
    """Raises BadInput before anything is changed, SnnFusionError after all was turned back."""
    with _prepared("rolling", name, watch_s, say) as (update, target):
        return update.rolling(target)


def blue_green(name: str, watch_s: float, say: Say) -> dict[str, Any]:
    """Raises as `rolling`."""
    with _prepared("blue-green", name, watch_s, say) as (update, target):
        return update.blue_green(target)


def canary(name: str, model: str, share: float, trial_s: float, least: int, watch_s: float, say: Say) -> dict[str, Any]:
    """Of an image, or (`name` empty) of a version of the model on the image that runs. Raises as `rolling`."""
    with _prepared("canary", name, watch_s, say, model) as (update, target):
        return update.canary(target, share, trial_s, least)


def rollback() -> dict[str, Any]:
    """To what answered before the last update. Raises BadInput if there is nothing to go back to."""
    state = state_folder()
    with exclusive(state, "deploy rollback"):
        live, options = Live.load(state), Options.load(state)
        if live.before is None:
            remedy = "a model: `snn-fusion rollback`; an image: `snn-fusion deploy rolling --image NAME:TAG`"
            raise BadInput(state, "no update is on record that could be taken back", remedy)
        running = stacks.stack(options)
        _check_running(running, NEEDED)
        fleet = DockerFleet(running, options, state)
        current, label = _current(fleet, live)
        why = f"asked for; `{live.unfinished}` had been interrupted" if live.unfinished else "asked for"
        return ways.rollback(fleet, state, live, current, label, why)


@contextmanager
def _prepared(way: str, name: str, watch_s: float, say: Say, model: str = "") -> Iterator[tuple[Update, Target]]:
    """The update and its target, after all checks. Raises BadInput, SnnFusionError."""
    state = state_folder()
    with exclusive(state, f"deploy {way}"):
        live, options = Live.load(state), Options.load(state)
        if live.unfinished:
            remedy = "snn-fusion deploy rollback, which puts all back"
            raise BadInput(state, f"the update `{live.unfinished}` was interrupted", remedy)
        running = stacks.stack(options)
        new = image.find(running.engine, name) if name else None
        _check_running(running, (*NEEDED, *live.active))
        if new:
            image.check_schema(running, new)
        fleet = DockerFleet(running, options, state)
        baseline = _baseline(fleet, live, say)
        if new is None:  # the model is tried on the image that runs
            target = Target(baseline.release.images[live.active[0]], baseline.label, model)
        else:
            target = Target(image.pin(running.engine, new), f"{new.name} ({new.short})")
        yield Update(fleet, state, live, baseline, watch_s, say), target


def _baseline(fleet: DockerFleet, live: Live, say: Say) -> Baseline:
    """Raises BadInput, SnnFusionError."""
    started, first = time.monotonic(), live.active[0]
    since = watch.snapshot(fleet, live.active)
    recordings = fleet.recordings(first)
    answers = smoke.answers(partial(fleet.ask, first), recordings)
    if not smoke.knows(recordings, answers):
        what = "knows fewer than half of the test recordings, so that a comparison with it says nothing"
        raise BadInput(first, what, "look at the champion's evaluation: snn-fusion evaluate")
    kind = "test recordings of the workspace" if recordings.real else "made-up recordings: no pipeline runs here"
    say(f"{len(recordings.bodies)} {kind}; the old set is observed for {BASELINE_S:.0f} s")
    time.sleep(max(0.0, BASELINE_S - (time.monotonic() - started)))
    report = watch.between(since, watch.snapshot(fleet, live.active))
    release, label = _current(fleet, live)
    return Baseline(release, label, recordings, answers, report)


def _current(fleet: DockerFleet, live: Live) -> tuple[Release, str]:
    """What the active replicas run, each by its pinned image; and the short digests, for people."""
    images, labels = {}, set[str]()
    for name in live.active:
        state = fleet.state(name)
        if state is None:
            continue  # removed, in an update that was killed
        running = image.Image(state.image, state.digest)
        images[name] = image.pin(fleet.stack.engine, running)
        labels.add(running.short)
    models = {name: live.models[name] for name in live.active if name in live.models}
    return Release(replicas=live.active, images=images, models=models), ", ".join(sorted(labels))


def _check_running(running: Stack, services: tuple[str, ...]) -> None:
    """Raises BadInput naming the first that does not run or is not healthy."""
    containers = running.containers()
    for name in services:
        now = condition(name, containers[name]) if name in containers else "missing"
        if now not in GOOD:
            remedy = "`snn-fusion up` first, and see `docker logs`; updates begin with a stack that is healthy"
            raise BadInput(name, f"is {now}", remedy)
