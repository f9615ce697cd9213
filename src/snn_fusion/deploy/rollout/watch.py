"""Replicas are watched while and after they take over: health, errors, times, spike rates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from snn_fusion.deploy.rollout import judge
from snn_fusion.deploy.rollout.fleet import Watched
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.deploy.rollout.metrics import Report, combined
from snn_fusion.errors import SnnFusionError

EVERY_S = 10.0
MISSES = 3  # looks in a row at which a replica is not ready or does not report
PRESSED = "under pressure"  # the service's reason when there is more to do than time


class Rejected(SnnFusionError):
    """The new set is not as good as the old one; `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = list(findings)
        super().__init__(judge.rejection(findings))


class Clock(Protocol):
    """Time as updates spend it; a test has its own."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Snapshot:
    """By replica: what it has reported so far, and how often it was restarted."""

    reports: Mapping[str, Report]
    restarts: Mapping[str, int]


def snapshot(fleet: Watched, replicas: Sequence[str]) -> Snapshot:
    """Raises SnnFusionError if a replica does not run or does not report."""
    restarts = {}
    for name in replicas:
        state = fleet.state(name)
        if state is None or not state.running:
            raise SnnFusionError(f"{name} does not run")
        restarts[name] = state.restarts
    return Snapshot({name: fleet.report(name) for name in replicas}, restarts)


def between(earlier: Snapshot, later: Snapshot) -> Report:
    """What the replicas of `later` answered since, together; the drift is that of `later`."""
    nothing = Report()
    return combined(
        Report(report.counts - earlier.reports.get(name, nothing).counts, report.drift)
        for name, report in later.reports.items()
    )


@dataclass(frozen=True)
class Watch:
    """`new` replicas, watched for `seconds`, compared with the replicas that answer `beside` them at the same time.

    Where none do: times and drift are compared with what the old set answered `before` the update (None: not compared),
    errors with the objective.
    """

    fleet: Watched
    clock: Clock
    new: tuple[str, ...]
    seconds: float
    beside: tuple[str, ...] = ()
    before: Report | None = None

    def run(self) -> tuple[list[Finding], Report]:
        """The last findings, all good, and what the new set answered. Raises Rejected at the first bad finding."""
        looks, misses = max(1, math.ceil(self.seconds / EVERY_S)), Counter[str]()
        new_start, old_start = snapshot(self.fleet, self.new), snapshot(self.fleet, self.beside)
        until = self.clock.monotonic() + self.seconds
        findings, report = list[Finding](), Report()
        while True:
            self.clock.sleep(min(EVERY_S, max(0.0, until - self.clock.monotonic())))
            new = [name for name in self.new if not self.fleet.scaled_away(name)]
            self._check_health(new, new_start, misses)
            now = self._snapshot(new, misses)
            if now is not None:
                report = between(new_start, now)
                findings = self._judged(report, old_start, looks)
                if judge.rejection(findings):
                    raise Rejected(findings)
            if self.clock.monotonic() >= until:
                return findings, report

    def _judged(self, new: Report, old_start: Snapshot, looks: int) -> list[Finding]:
        if self.beside:
            staying = [name for name in self.beside if not self.fleet.scaled_away(name)]
            old = between(old_start, snapshot(self.fleet, staying))
            errors = judge.errors(new.counts, old.counts, looks)
        elif self.before:
            old, errors = self.before, judge.errors(new.counts, None, looks)
        else:
            return [judge.errors(new.counts, None, looks)]
        return [errors, judge.drift(new.drift, old.drift), judge.latency(new.counts, old.counts, looks)]

    def _check_health(self, new: Sequence[str], start: Snapshot, misses: Counter[str]) -> None:
        """Raises Rejected for a replica that ended, was restarted, or is not ready at several looks in a row."""
        for name in new:
            state = self.fleet.state(name)
            if state is None or not state.running or state.restarts != start.restarts[name]:
                raise Rejected([Finding("health", False, f"{name} ended")])
            try:
                why = self.fleet.ready(name)
            except SnnFusionError as error:
                why = str(error).splitlines()[0]
            misses[name] = misses[name] + 1 if why and why != PRESSED else 0
            if misses[name] >= MISSES:
                raise Rejected([Finding("health", False, f"{name} is not ready at {MISSES} looks in a row: {why}")])

    def _snapshot(self, replicas: Sequence[str], misses: Counter[str]) -> Snapshot | None:
        """None where one of them does not report. Raises Rejected when that lasts several looks."""
        try:
            current = snapshot(self.fleet, replicas)
        except SnnFusionError as error:
            misses["metrics"] += 1
            if misses["metrics"] >= MISSES:
                raise Rejected([Finding("health", False, str(error).splitlines()[0])]) from None
            return None
        misses["metrics"] = 0
        return current
