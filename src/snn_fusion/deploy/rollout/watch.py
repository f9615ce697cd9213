"""Looking at replicas while and after they take over: health, errors, times, rates of spikes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from snn_fusion.deploy.rollout import judge
from snn_fusion.deploy.rollout.counted import Said, together
from snn_fusion.deploy.rollout.fleet import Watched
from snn_fusion.deploy.rollout.judge import Counts, Finding
from snn_fusion.errors import SnnFusionError

EVERY_S = 10.0
MISSES = 3  # looks in a row at which a replica may give no answer
PRESSED = "under pressure"  # what the service says of itself when there is more to do than time


class NotGood(SnnFusionError):
    """The new set is not as good as the old one; `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = list(findings)
        super().__init__(judge.failed(findings) or "")


class Clock(Protocol):
    """Time as updates spend it; a test has its own."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Since:
    """What replicas had said by a moment, and how often the engine had started each again."""

    said: Mapping[str, Said]
    restarts: Mapping[str, int]


def now(fleet: Watched, replicas: Sequence[str]) -> Since:
    """Raises SnnFusionError if one of them does not run or says nothing."""
    restarts = {}
    for name in replicas:
        state = fleet.state(name)
        if state is None or not state.running:
            raise SnnFusionError(f"{name} does not run")
        restarts[name] = state.restarts
    return Since({name: fleet.said(name) for name in replicas}, restarts)


def between(earlier: Since, later: Since) -> Said:
    """What these replicas answered in between, together; rates of spikes as they are now."""
    return together(
        Said(one.counts - earlier.said[name].counts if name in earlier.said else one.counts, one.rates)
        for name, one in later.said.items()
    )


@dataclass(frozen=True)
class Watch:
    """`new` replicas, watched for `seconds`; `beside` the replicas that answer at the same time, in a canary.

    `before` is what the old set answered before anything was changed: times are compared with it where there is nothing
    beside. None: times are not compared.
    """

    fleet: Watched
    clock: Clock
    new: tuple[str, ...]
    seconds: float
    beside: tuple[str, ...] = ()
    before: Said | None = None

    def run(self) -> tuple[list[Finding], Said]:
        """The last findings, all good, and what the new set answered meanwhile. Raises NotGood at the first bad one."""
        looks, misses = max(1, math.ceil(self.seconds / EVERY_S)), Counter[str]()
        since, old_since = now(self.fleet, self.new), now(self.fleet, self.beside)
        until = self.clock.monotonic() + self.seconds
        findings, said = list[Finding](), Said()
        while True:
            self.clock.sleep(min(EVERY_S, max(0.0, until - self.clock.monotonic())))
            new = [name for name in self.new if not self.fleet.left(name)]
            self._healthy(new, since, misses)
            later = self._later(new, misses)
            if later is not None:
                said = between(since, later)
                findings = self._judged(said, old_since, looks)
                if judge.failed(findings):
                    raise NotGood(findings)
            if self.clock.monotonic() >= until:
                return findings, said

    def _judged(self, said: Said, old_since: Since, looks: int) -> list[Finding]:
        if self.beside:
            beside = [name for name in self.beside if not self.fleet.left(name)]
            old = between(old_since, now(self.fleet, beside))
            compared: Counts | None = old.counts
        else:
            old, compared = self.before or Said(), None
        found = [judge.errors(said.counts, compared, looks), judge.drift(said.rates, old.rates)]
        return [*found, judge.latency(said.counts, old.counts, looks)] if self.beside or self.before else found

    def _healthy(self, new: Sequence[str], since: Since, misses: Counter[str]) -> None:
        """Raises NotGood for a replica that ended, was started again, or is not ready at several looks in a row."""
        for name in new:
            state = self.fleet.state(name)
            if state is None or not state.running or state.restarts != since.restarts[name]:
                raise NotGood([Finding("health", False, f"{name} ended")])
            try:
                why = self.fleet.ready(name)
            except SnnFusionError as error:
                why = str(error).splitlines()[0]
            misses[name] = misses[name] + 1 if why and why != PRESSED else 0
            if misses[name] >= MISSES:
                raise NotGood([Finding("health", False, f"{name} is not ready at {MISSES} looks in a row: {why}")])

    def _later(self, replicas: Sequence[str], misses: Counter[str]) -> Since | None:
        """None where one of them did not say, which may be at a few looks in a row."""
        try:
            found = now(self.fleet, replicas)
        except SnnFusionError as error:
            misses["metrics"] += 1
            if misses["metrics"] >= MISSES:
                raise NotGood([Finding("health", False, str(error).splitlines()[0])]) from None
            return None
        misses["metrics"] = 0
        return found
