"""`snn-fusion deploy` on Compose: all that is checked before anything is changed, then one of the ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from snn_fusion.deploy import stack as stacks
from snn_fusion.deploy.engine import Stack
from snn_fusion.deploy.options import Options, state_folder
from snn_fusion.deploy.rollout import image, smoke, watch
from snn_fusion.deploy.rollout.counted import Said
from snn_fusion.deploy.rollout.fleet import DockerFleet
from snn_fusion.deploy.rollout.live import Live, Runs, alone
from snn_fusion.deploy.rollout.ways import Update, Wanted
from snn_fusion.errors import BadInput

NEEDED = ("nginx", "postgres", "redis", "mlflow")
BASELINE_S = 20.0  # for which the old set is looked at first, to have times to compare with
TURN_BACK = "snn-fusion deploy rollback"
Say = Callable[[str], None]


def rolling(name: str, watch_s: float, say: Say) -> dict[str, Any]:
    """Raises BadInput before anything is changed, SnnFusionError after all was turned back."""
    with _prepared("rolling", name, watch_s, say) as (update, wanted):
        return update.rolling(wanted)


def blue_green(name: str, watch_s: float, say: Say) -> dict[str, Any]:
    """Raises as `rolling`."""
    with _prepared("blue-green", name, watch_s, say) as (update, wanted):
        return update.blue_green(wanted)


def canary(name: str, model: str, share: float, trial_s: float, least: int, watch_s: float, say: Say) -> dict[str, Any]:
    """Of an image, or (`name` empty) of a version of the model on the image that runs. Raises as `rolling`."""
    with _prepared("canary", name, watch_s, say, model) as (update, wanted):
        return update.canary(wanted, share, trial_s, least)


def rollback(say: Say) -> dict[str, Any]:
    """To what answered before the last update. Raises BadInput if there is nothing to go back to."""
    state = state_folder()
    with alone(state, "deploy rollback"):
        live = Live.load(state)
        if live.before is None:
            remedy = "a model: `snn-fusion rollback`; an image: `snn-fusion deploy rolling --image NAME:TAG`"
            raise BadInput(state, "no update is on record that could be taken back", remedy)
        options = Options.load(state)
        running = live.applied(stacks.stack(options))
        check_running(running, NEEDED)
        fleet = DockerFleet(running, options, state)
        nothing = smoke.Recordings((), (), real=False)
        old, was = _now(fleet, live)
        update = Update(fleet, state, live, old, was, nothing, [], Said(), 0.0, say)
        why = f"asked for; `{live.unfinished}` had been interrupted" if live.unfinished else "asked for"
        return update.rollback(live.before, why)


@contextmanager
def _prepared(way: str, name: str, watch_s: float, say: Say, model: str = "") -> Iterator[tuple[Update, Wanted]]:
    state = state_folder()
    with alone(state, f"deploy {way}"):
        live = Live.load(state)
        if live.unfinished:
            raise BadInput(
                state, f"the update `{live.unfinished}` was interrupted", f"{TURN_BACK}, which puts all back"
            )
        options = Options.load(state)
        running = live.applied(stacks.stack(options))
        found = image.find(running.engine, name) if name else None
        check_running(running, (*NEEDED, *live.active))
        if found:
            image.check_schema(running, found)
        fleet = DockerFleet(running, options, state)
        yield _update(fleet, live, state, watch_s, say), _wanted(fleet, live, found, model)


def _wanted(fleet: DockerFleet, live: Live, found: image.Image | None, model: str) -> Wanted:
    engine = fleet.stack.engine
    if found is None:
        state = fleet.state(live.active[0])
        assert state is not None  # which was checked
        found = image.Image(state.name, state.image)
    return Wanted(image.keep(engine, found), f"{found.name} ({found.digest.removeprefix('sha256:')[:12]})", model)


def _update(fleet: DockerFleet, live: Live, state: Path, watch_s: float, say: Say) -> Update:
    """With all that is known before the update. Raises BadInput, SnnFusionError."""
    started, since = time.monotonic(), watch.now(fleet, live.active)
    first = live.active[0]
    recordings = fleet.recordings(first)
    reference = smoke.answers(partial(fleet.ask, first), recordings)
    if not smoke.knows(recordings, reference):
        what = "does not know the answers to the test recordings, so that there is nothing to compare with"
        raise BadInput(first, what, "look at the champion's evaluation: snn-fusion evaluate")
    kind = "test recordings of the workspace" if recordings.real else "made-up recordings: no pipeline runs here"
    say(f"{len(recordings.bodies)} {kind}; the old set is looked at for {BASELINE_S:.0f} s")
    time.sleep(max(0.0, BASELINE_S - (time.monotonic() - started)))
    before = watch.between(since, watch.now(fleet, live.active))
    old, was = _now(fleet, live)
    return Update(fleet, state, live, old, was, recordings, reference, before, watch_s, say)


def _now(fleet: DockerFleet, live: Live) -> tuple[Runs, str]:
    """What the active replicas run, each by its pinned image, and the same in words."""
    images, words = {}, set[str]()
    for name in live.active:
        state = fleet.state(name)
        if state is None:
            continue  # gone, in the middle of an update that was killed
        found = image.Image(state.name, state.image)
        images[name] = image.keep(fleet.stack.engine, found)
        words.add(found.digest.removeprefix("sha256:")[:12])
    return Runs(replicas=live.active, images=images, models=live.of(live.active).models), ", ".join(sorted(words))


def check_running(running: Stack, services: tuple[str, ...]) -> None:
    """Raises BadInput naming the first that does not run or is not healthy."""
    there = running.containers()
    for name in services:
        one = there.get(name)
        if one is None or one["State"] != "running" or one["Health"] not in ("healthy", ""):
            what = "does not run" if one is None or one["State"] != "running" else f"is {one['Health']}"
            remedy = "`snn-fusion up` first, and see `docker logs`; updates begin with a stack that is whole"
            raise BadInput(name, what, remedy)
