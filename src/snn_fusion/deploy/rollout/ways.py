"""The ways to another image or model: rolling, blue-green, canary; and back.

Each writes state/replicas.json before it changes what runs, with the release to go back to. Any failure on the way,
Ctrl-C too, is turned back; after a kill, `rollback` does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from snn_fusion.deploy.rollout import judge, record, smoke
from snn_fusion.deploy.rollout.fleet import Fleet
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.deploy.rollout.live import Live, Release
from snn_fusion.deploy.rollout.metrics import Report
from snn_fusion.deploy.rollout.smoke import Answer, Recordings
from snn_fusion.deploy.rollout.watch import Clock, Rejected, Watch
from snn_fusion.errors import SnnFusionError

BETWEEN_S = 10.0  # a replaced replica is watched for so long before the next one is replaced


@dataclass(frozen=True)
class Target:
    """What is to run: `image`, by its pinned name, and `model`, a version (empty: the champion).

    `label` is for people.
    """

    image: str
    label: str
    model: str = ""


@dataclass(frozen=True)
class Baseline:
    """What answers before the update: its `answers` to the test `recordings`, and its `report` over some seconds."""

    release: Release
    label: str
    recordings: Recordings
    answers: list[Answer]
    report: Report


@dataclass
class Update:
    """`state`: the state folder; `watch_s`: seconds for which the new set is watched after it took over."""

    fleet: Fleet
    state: Path
    live: Live
    baseline: Baseline
    watch_s: float
    say: Callable[[str], None]
    clock: Clock = time
    findings: list[Finding] = field(default_factory=list)
    started: float = 0.0

    def rolling(self, target: Target) -> dict[str, Any]:
        """One replica after the other."""
        with self._turning_back("rolling", target):
            replicas = self.live.active
            for i, name in enumerate(replicas):
                self._route(self.live.changed(out=(name,)))
                self._start(name, target)
                self._route(self.live.changed(out=()))
                self._watch((name,), min(BETWEEN_S, self.watch_s), beside=replicas[i + 1 :])
            self._watch_afterwards()
        if kept := self.live.kept:  # `rollback` goes back to what this update replaced, not to an older set
            self.live = self.live.changed(kept=()).running(kept)
            self.fleet.remove(kept, self.live)
        return self._done("rolling", target)

    def blue_green(self, target: Target) -> dict[str, Any]:
        """The whole new set beside the old one, then all requests at once; the old one is kept."""
        with self._turning_back("blue-green", target):
            self._start_beside(target)
            self._switch()
            self._watch_afterwards()
        return self._done("blue-green", target)

    def canary(self, target: Target, share: float, trial_s: float, least: int) -> dict[str, Any]:
        """A `share` of the requests for `trial_s`, of which the new set has to answer `least`; then all or none."""
        with self._turning_back("canary", target):
            old, new = self.live.active, self.live.other
            self._start_beside(target)
            self._route(self.live.changed(canary=new, share=share, kept=()))
            self.say(f"{share:.0%} of the requests to {', '.join(new)}")
            report = self._watch(new, trial_s, beside=old)
            self.findings.append(judge.traffic(report.counts, least))
            if judge.rejection(self.findings):
                raise Rejected(self.findings)
            if target.model:
                self._promote(target.model)
            else:
                self._switch()
                self._watch_afterwards()
        return self._done("canary", target)

    def _start_beside(self, target: Target) -> None:
        """Start and test the other set, which gets no requests yet."""
        new = self.live.other
        self.live = self.live.changed(kept=new)
        for name in new:
            self._start(name, target)

    def _switch(self) -> None:
        old, new = self.live.active, self.live.other
        self._route(self.live.changed(active=new, kept=old, canary=(), share=0.0))
        self.say(f"all requests to {', '.join(new)}")

    def _start(self, name: str, target: Target) -> None:
        """Start the replica, wait until it is ready, and compare its answers. Raises SnnFusionError."""
        self.say(f"{name}: starting {target.label}")
        self.live = self.live.running((name,), target.image, target.model)
        self.live.save(self.state)
        self.fleet.start(name, self.live)
        recordings = self.baseline.recordings
        answers = smoke.answers(partial(self.fleet.ask, name), recordings, self.clock.sleep)
        self.findings = [smoke.compare(recordings, self.baseline.answers, answers)]
        self.say(f"{name}: {self.findings[0].text}")
        if judge.rejection(self.findings):
            raise Rejected(self.findings)
        self.fleet.settle(name)

    def _promote(self, model: str) -> None:
        """The champion changes through the registry's gate; the replicas that tried the model are removed."""
        self.say(f"version {model}: through the gate")
        if refusal := self.fleet.promote(model):
            raise SnnFusionError(f"the gate refused version {model}: {refusal}")
        tried = self.live.canary
        self._route(self.live.changed(canary=(), share=0.0, kept=(), before=None).running(tried))
        self.fleet.remove(tried, self.live)

    def _watch(
        self, new: tuple[str, ...], seconds: float, beside: tuple[str, ...] = (), before: Report | None = None
    ) -> Report:
        """Raises Rejected."""
        self.say(f"{', '.join(new)}: watched for {seconds:.0f} s")
        findings, report = Watch(self.fleet, self.clock, new, seconds, beside, before).run()
        self.findings = [*self.findings, *findings]
        return report

    def _watch_afterwards(self) -> None:
        self._watch(self.live.active, self.watch_s, before=self.baseline.report)

    def _route(self, live: Live) -> None:
        self.live = live
        route(self.fleet, self.state, live)

    @contextmanager
    def _turning_back(self, way: str, target: Target) -> Iterator[None]:
        """Any failure within restores the baseline's release, goes on record, and is raised again."""
        self.started = self.clock.monotonic()
        self.live = self.live.changed(before=self.baseline.release, unfinished=way)
        self.live.save(self.state)
        try:
            yield
        except BaseException as error:
            findings = error.findings if isinstance(error, Rejected) else self.findings
            why = str(error) or type(error).__name__
            self.say(f"turning back: {why}")
            try:
                self.live = restore(self.fleet, self.state, self.live, self.baseline.release)
            except BaseException as second:
                self._record(way, "failed", f"{why}; and turning back failed: {second}", target, findings)
                raise
            self._record(way, "turned back", why, target, findings)
            if not isinstance(error, SnnFusionError):
                raise
            raise SnnFusionError(f"turned back, {self.baseline.label} answers: {why}") from error

    def _done(self, way: str, target: Target) -> dict[str, Any]:
        self.live = self.live.changed(unfinished="")
        self.live.save(self.state)
        return self._record(way, "done", judge.summary(self.findings), target, self.findings)

    def _record(
        self, way: str, verdict: record.Verdict, why: str, target: Target, findings: list[Finding]
    ) -> dict[str, Any]:
        new = target.label + (f", version {target.model}" if target.model else "")
        seconds = self.clock.monotonic() - self.started
        return record.append(self.state, way, verdict, why, self.baseline.label, new, seconds, findings)


def rollback(fleet: Fleet, state: Path, live: Live, current: Release, label: str, why: str) -> dict[str, Any]:
    """Back to `live.before`; the next rollback goes back to `current`, what answers until now and `label` names.

    Raises SnnFusionError.
    """
    assert live.before is not None  # the caller has checked
    started = time.monotonic()
    live = restore(fleet, state, live, live.before).changed(before=current)
    live.save(state)
    images = ", ".join(sorted(set(live.images.values()))) or "the images of `up`"
    return record.append(state, "rollback", "done", why, label, images, time.monotonic() - started)


def restore(fleet: Fleet, state: Path, live: Live, release: Release) -> Live:
    """Send the requests to the replicas that still run `release`, and make the others of it again.

    `unfinished` stays on record until all is done. Raises SnnFusionError.
    """
    back = Live(active=release.replicas, images=release.images, models=release.models, before=release)
    back = back.changed(unfinished=live.unfinished or "rollback")
    restored = [name for name in release.replicas if fleet.runs(name, release)]
    missing = [name for name in release.replicas if name not in restored]
    in_place = set(release.replicas) == set(live.active)  # otherwise the other set answers meanwhile
    if in_place:
        missing.sort(key=partial(_answers, fleet))  # those that do not answer first, while the others still do
    for i, name in enumerate(missing):
        if in_place:
            route(fleet, state, back.changed(out=tuple(missing[i:]) if restored else (name,)))
        fleet.start(name, back)
        fleet.settle(name)
        restored.append(name)
    route(fleet, state, back)
    fleet.remove(back.other, back)
    done = back.changed(unfinished="", before=None)
    done.save(state)
    return done


def _answers(fleet: Fleet, name: str) -> bool:
    try:
        return not fleet.ready(name)
    except SnnFusionError:
        return False


def route(fleet: Fleet, state: Path, live: Live) -> None:
    """Have nginx send requests as `live` says, from now on and after a restart. Raises SnnFusionError."""
    live.save(state)
    fleet.route(live)
