"""Replicas that are simulated: requests arrive as time passes, and each image behaves as a test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snn_fusion.deploy.rollout.fleet import State
from snn_fusion.deploy.rollout.judge import Counts
from snn_fusion.deploy.rollout.live import Live, Release
from snn_fusion.deploy.rollout.metrics import Report
from snn_fusion.deploy.rollout.smoke import Call, Recordings, Reply, answers
from snn_fusion.deploy.rollout.ways import Baseline, Update
from snn_fusion.errors import SnnFusionError

OLD, NEW = "service:old", "service:new"
RATE = 50.0  # requests a second of all clients
RECORDINGS = Recordings(("0", "1"), ({"audio": 0}, {"audio": 1}), real=True)


@dataclass(frozen=True)
class Behaves:
    """Of an image: what becomes of a replica that runs it."""

    starts: bool = True
    answers_right: bool = True
    digest: str = "network"
    errors: float = 0.0  # share of its answers
    slow: float = 0.0  # share of its answers that take a second
    ends_after: float = float("inf")  # seconds
    psi: float = 0.1  # how far the rates of its spikes are from training; the limit is 0.25


@dataclass
class Clock:
    """Nobody waits."""

    now: float = 0.0
    fleet: Fleet | None = None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        assert self.fleet is not None
        self.fleet.pass_by(seconds)


@dataclass
class Container:
    image: str
    model: str
    counts: Counts = field(default_factory=Counts)
    age: float = 0.0
    part: float = 0.0  # of a request


@dataclass
class Fleet:
    """`images`: how each behaves; `refused`: why the gate refuses a model; `routes`: all that nginx was told."""

    images: dict[str, Behaves]
    clock: Clock = field(default_factory=Clock)
    containers: dict[str, Container] = field(default_factory=dict)
    routes: list[Live] = field(default_factory=list)
    refused: str = ""
    rate: float = RATE
    fails_at: int = -1  # which call to the engine fails
    calls: int = 0

    def __post_init__(self) -> None:
        self.clock.fleet = self
        for name in ("app-1", "app-2"):
            self.containers[name] = Container(OLD, "champion")
        self.routes.append(Live())

    def pass_by(self, seconds: float) -> None:
        """Requests reach whoever nginx sends them to."""
        now = self.routes[-1]
        for container in self.containers.values():
            container.age += seconds
        for names, share in ((now.serving, 1 - now.share), (now.canary, now.share)):
            for name in names:
                self._asked(self.containers[name], share * self.rate * seconds / len(names))

    def _asked(self, container: Container, requests: float) -> None:
        how = self.images[container.image]
        container.part += requests
        count = int(container.part)
        container.part -= count
        slow = round(how.slow * count)
        within = ((0.05, count - slow), (0.1, count - slow), (0.25, count - slow), (1.0, count), (float("inf"), count))
        container.counts += Counts(count, round(how.errors * count), within)

    def route(self, live: Live) -> None:
        self._call()
        assert live.serving, "nobody would answer"
        for name in (*live.serving, *live.canary):
            assert not self.ready(name), f"{name} is not ready"
        self.routes.append(live)

    def start(self, replica: str, live: Live) -> None:
        self._call()
        now = self.routes[-1]
        assert replica not in (*now.serving, *now.canary), f"{replica} gets requests while it is replaced"
        self.clock.sleep(10)
        self.containers[replica] = Container(live.images.get(replica, OLD), live.models.get(replica, "champion"))
        if not self.images[self.containers[replica].image].starts:
            raise SnnFusionError(f"{replica} does not stay up")

    def settle(self, replica: str) -> None:
        self._call()

    def remove(self, replicas: Sequence[str], live: Live) -> None:
        now = self.routes[-1]
        assert not set(replicas) & {*now.serving, *now.canary}
        for name in replicas:
            self.containers.pop(name, None)

    def runs(self, replica: str, release: Release) -> bool:
        wanted = (release.images.get(replica, OLD), release.models.get(replica, "champion"))
        container = self.containers.get(replica)
        return container is not None and (container.image, container.model) == wanted and not self.ready(replica)

    def state(self, replica: str) -> State | None:
        container = self.containers.get(replica)
        if container is None:
            return None
        how = self.images[container.image]
        running = how.starts and container.age < how.ends_after
        return State(container.image, container.image, container.model, running, "healthy", 0)

    def ready(self, replica: str) -> str:
        state = self.state(replica)
        return "" if state and state.running else "it does not run"

    def report(self, replica: str) -> Report:
        container = self.containers[replica]
        return Report(container.counts, {("audio", "joint"): (self.images[container.image].psi, 0.25)})

    def scaled_away(self, replica: str) -> bool:
        return False

    def ask(self, replica: str, calls: Sequence[Call]) -> list[Reply]:
        container = self.containers[replica]
        how = self.images[container.image]
        digest = how.digest if container.model == "champion" else f"version {container.model}"
        replies = []
        for call in calls:
            label = str(json.loads(call.body or "")["recordings"][0]["audio"])
            answered = label if how.answers_right else "9"
            model = {"digest": digest, "arithmetic": "float"}
            answer = {"label": answered, "scores": {answered: 1.0}, "steps": 5, "steps_total": 5, "model": model}
            replies.append(Reply(200, json.dumps({"answers": [answer]})))
        return replies

    def promote(self, model: str) -> str:
        return self.refused

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise SnnFusionError("the engine does not answer")


def update(fleet: Fleet, state: Path, live: Live | None = None, watch_s: float = 60) -> Update:
    """As it begins: all is checked, nothing is changed."""
    live = live or Live()
    first = live.active[0]
    reference = answers(lambda calls: fleet.ask(first, calls), RECORDINGS)
    before = {name: fleet.report(name).counts for name in live.active}
    fleet.clock.sleep(20)
    counts = Counts()
    for name in live.active:
        counts += fleet.report(name).counts - before[name]
    release = Release(replicas=live.active, images={name: fleet.containers[name].image for name in live.active})
    baseline = Baseline(release, "old", RECORDINGS, reference, Report(counts, fleet.report(first).drift))
    return Update(fleet, state, live, baseline, watch_s, lambda text: None, clock=fleet.clock)
