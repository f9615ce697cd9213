"""The ways to another image or model: rolling, blue-green, canary; and back.

Each changes state/replicas.json before it changes what runs, and leaves there what to go back to. Whatever fails on the
way, also Ctrl-C, is turned back; after a kill, `rollback` does it.
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
from snn_fusion.deploy.rollout.counted import Said
from snn_fusion.deploy.rollout.fleet import Fleet
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.deploy.rollout.live import Live, Runs
from snn_fusion.deploy.rollout.smoke import Answer, Recordings
from snn_fusion.deploy.rollout.watch import Clock, NotGood, Watch
from snn_fusion.errors import SnnFusionError

BETWEEN_S = 10.0  # a replica that was replaced is watched for, before the next is


@dataclass(frozen=True)
class Wanted:
    """What is to run: `image`, by a name that no later build takes, and `model`, a version; empty: the champion.

    `name` is what people call the image, for the record.
    """

    image: str
    name: str
    model: str = ""


@dataclass
class Update:
    """`recordings` and the `reference` answers to them, and what the old set had answered `before`, are of the moment
    when all was checked and nothing changed yet.
    """

    fleet: Fleet
    state: Path
    live: Live
    old: Runs  # what answers now
    was: str  # the same in words
    recordings: Recordings
    reference: list[Answer]
    before: Said
    watch_s: float
    say: Callable[[str], None]
    clock: Clock = time
    findings: list[Finding] = field(default_factory=list)
    started: float = 0.0

    def rolling(self, wanted: Wanted) -> dict[str, Any]:
        """One replica after the other."""
        with self._turned_back("rolling", wanted):
            for name in self.live.active:
                self._go(self.live.changed(out=(name,)))
                self.say(f"{name}: replaced")
                self._start((name,), wanted)
                self._go(self.live.changed(out=()))
                self._watch(Watch(self.fleet, self.clock, (name,), min(BETWEEN_S, self.watch_s)))
            self._afterwards()
        if self.live.kept:  # of an update before: `rollback` goes back to what this one replaced
            kept = self.live.kept
            self.live = self.live.changed(kept=()).running_in(kept)
            self.fleet.remove(kept, self.live)
        return self._done("rolling", wanted, "every replica is ready and answers as before")

    def blue_green(self, wanted: Wanted) -> dict[str, Any]:
        """The whole new set beside the old one, then all requests at once; the old one is kept."""
        with self._turned_back("blue-green", wanted):
            self._beside(wanted)
            self._switch()
            self._afterwards()
        return self._done("blue-green", wanted, "the new set answers; the old one is kept for `rollback`")

    def canary(self, wanted: Wanted, share: float, trial_s: float, least: int) -> dict[str, Any]:
        """A `share` of the requests, for `trial_s` and until the new set has answered `least`; then all or nothing."""
        with self._turned_back("canary", wanted):
            old, new = self.live.active, self.live.other
            self._beside(wanted)
            self._go(self.live.changed(canary=new, share=share, kept=()))
            self.say(f"{share:.0%} of the requests to {', '.join(new)}")
            found, said = self._watch(Watch(self.fleet, self.clock, new, trial_s, beside=old))
            traffic = judge.enough(said.counts, least)
            self.findings = [*found, traffic]
            if not traffic.good:
                raise NotGood([traffic])
            if wanted.model:
                self._promote(wanted.model)
            else:
                self._switch()
                self._afterwards()
        return self._done("canary", wanted, judge_text(self.findings))

    def rollback(self, target: Runs, why: str) -> dict[str, Any]:
        """Back to `target`; what answers until now is what the next `rollback` goes back to."""
        started = self.clock.monotonic()
        back_again = self.old
        self._restore(target)
        self.live = self.live.changed(before=back_again)
        self.live.save(self.state)
        seconds = self.clock.monotonic() - started
        return record.append(self.state, "rollback", "done", why, self.was, named(target), seconds, [])

    def _beside(self, wanted: Wanted) -> None:
        """Start and try the other set, which gets no requests yet."""
        new = self.live.other
        self.live = self.live.changed(kept=new)
        for name in new:
            self.say(f"{name}: started beside {', '.join(self.live.active)}")
            self._start((name,), wanted)

    def _switch(self) -> None:
        old, new = self.live.active, self.live.other
        self._go(self.live.changed(active=new, kept=old, canary=(), share=0.0))
        self.say(f"all requests to {', '.join(new)}")

    def _start(self, replicas: tuple[str, ...], wanted: Wanted) -> None:
        """With this image, ready, and with the right answers. Raises SnnFusionError."""
        self.live = self.live.running_in(replicas, wanted.image, wanted.model)
        self.live.save(self.state)
        for name in replicas:
            self.fleet.start(name, self.live)
            found = smoke.answers(partial(self.fleet.ask, name), self.recordings, self.clock.sleep)
            finding = smoke.compare(self.recordings, self.reference, found)
            self.say(f"{name}: {finding.text}")
            self.findings = [finding]
            if not finding.good:
                raise NotGood(self.findings)

    def _promote(self, model: str) -> None:
        """A model is taken by all through the registry's gate; the replicas that tried it are no longer needed."""
        self.say(f"version {model}: through the gate")
        if refused := self.fleet.promote(model):
            raise SnnFusionError(f"the gate refused version {model}: {refused}")
        tried = self.live.canary
        self._go(self.live.changed(canary=(), share=0.0, kept=()).running_in(tried))
        self.fleet.remove(tried, self.live)

    def _afterwards(self) -> None:
        found, _ = self._watch(Watch(self.fleet, self.clock, self.live.active, self.watch_s, before=self.before))
        self.findings = [*self.findings, *found]

    def _watch(self, one: Watch) -> tuple[list[Finding], Said]:
        self.say(f"{', '.join(one.new)}: watched for {one.seconds:.0f} s")
        return one.run()

    def _go(self, live: Live) -> None:
        """Have nginx send requests as `live` says, from now on and after a restart."""
        self.live = live
        live.save(self.state)
        self.fleet.route(live)

    @contextmanager
    def _turned_back(self, way: str, wanted: Wanted) -> Iterator[None]:
        """Within, whatever fails puts back what was there before, on record. Raises it again."""
        self.started = self.clock.monotonic()
        self.live = self.live.changed(before=self.old, unfinished=way)
        self.live.save(self.state)
        try:
            yield
        except BaseException as error:
            findings = error.findings if isinstance(error, NotGood) else self.findings
            why = str(error) or type(error).__name__
            self.say(f"turning back: {why}")
            try:
                self._restore(self.old)
            except BaseException as second:
                self._record(way, "failed", f"{why}; and turning back failed: {second}", wanted, findings)
                raise
            self._record(way, "turned back", why, wanted, findings)
            if not isinstance(error, SnnFusionError):
                raise
            raise SnnFusionError(f"turned back, {self.was} answers: {why}") from error

    def _restore(self, target: Runs) -> None:
        """Requests at once to those replicas that are still as `target` says, then the others made so again."""
        wanted = Live(active=target.replicas, images=target.images, models=target.models, before=target)
        wanted = wanted.changed(unfinished=self.live.unfinished or "rollback")
        missing = [name for name in target.replicas if not self.fleet.runs(name, target)]
        if set(target.replicas) == set(self.live.active):
            while missing:
                if len(missing) < len(target.replicas):
                    self._go(wanted.changed(out=tuple(missing)))
                self.fleet.start(missing[0], wanted)
                missing.pop(0)
        else:  # beside what answers until now
            for name in missing:
                self.fleet.start(name, wanted)
        self._go(wanted.changed(unfinished="", before=None))
        self.fleet.remove(self.live.other, self.live)

    def _done(self, way: str, wanted: Wanted, why: str) -> dict[str, Any]:
        self.live = self.live.changed(unfinished="")
        self.live.save(self.state)
        return self._record(way, "done", why, wanted, self.findings)

    def _record(
        self, way: str, verdict: record.Verdict, why: str, wanted: Wanted, findings: list[Finding]
    ) -> dict[str, Any]:
        after = wanted.name + (f", version {wanted.model}" if wanted.model else "")
        seconds = self.clock.monotonic() - self.started
        bodies = [one.body() for one in findings]
        return record.append(self.state, way, verdict, why, self.was, after, seconds, bodies)


def named(runs: Runs) -> str:
    """In words, for the record."""
    images = sorted(set(runs.images.values()))
    models = sorted({f"version {one}" for one in runs.models.values()})
    return ", ".join([*images, *models]) or "as `up` starts it"


def judge_text(findings: list[Finding]) -> str:
    return "; ".join(f"{one.test}: {one.text}" for one in findings)
