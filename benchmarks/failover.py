"""Predictions through nginx while something happens to the stack: how many fail, how long the slowest take, how long
the longest silence is. `make bench ARGS="--only failover"`, on a running stack (`make up`) with a champion.

Sixteen clients on connections that they keep, over TLS, each with a token of its own, each waiting for its answer
before it asks again. No recording comes twice, so that every answer is computed. An answer counts if it is a 200 and
has the label that the same recording had before anything happened.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
from engine.machine import describe
from engine.report import markdown
from failover_load import CLIENTS, Client, Expected, Load, load
from section import RESULTS, replace, show

from snn_fusion.deploy import stack as stacks
from snn_fusion.deploy.engine import Stack
from snn_fusion.deploy.options import Options, state_folder
from snn_fusion.deploy.rollout.fleet import DockerFleet
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.serving.tokens import Role, issue

BEGIN, END = '<!-- failover: make bench ARGS="--only failover --write" -->', "<!-- /failover -->"
DEPLOY = [str(Path(sys.executable).with_name("snn-fusion")), "deploy"]
SETTLE_S = 5.0  # of load before something happens
AWAY_S = 20.0  # for which what is stopped stays away
GONE = "replica killed"  # one of the replicas is gone meanwhile
HEAD = [
    "while",
    "predictions",
    "failed",
    "shortened",
    "sent again",
    "a second",
    "p50, ms",
    "p99, ms",
    "p99 meanwhile",
    "gap, s",
    "reached",
]

NOTES = """Wanted: no failed prediction, p99 under 100 ms (1 s while a replica is gone), no gap of 5 s. *Failed* has the
refusals for want of time (429). *Shortened*: another label, since there was no time for all steps. *Sent again*: the
connection was closed before a byte of the answer had come, and the client opened another one. *Meanwhile*: p99 of what
was answered while it happened. *Gap*: the longest time without any answer."""


@dataclass(frozen=True)
class Happening:
    """The stack, and how updates are watched in this run."""

    stack: Stack
    live: Live
    watch_s: float

    def docker(self, *arguments: str) -> None:
        self.stack.engine.run(*arguments)

    def named(self, service: str) -> str:
        return f"{self.stack.project or 'snn-fusion'}-{service}-1"

    def healthy(self, service: str) -> None:
        """Wait until it is. Raises TimeoutError."""
        until = time.monotonic() + 180
        while time.monotonic() < until:
            container = self.stack.containers().get(service, {})
            if container.get("State") == "running" and container.get("Health") in ("healthy", ""):
                return
            time.sleep(1)
        raise TimeoutError(f"{service} is not healthy again after 180 s")

    def away(self, service: str, how: str, seconds: float) -> None:
        """End a container, and start it again after a while."""
        self.docker(how, self.named(service))
        time.sleep(seconds)
        self.docker("start", self.named(service))
        self.healthy(service)

    def restarted(self, service: str) -> None:
        self.docker("restart", self.named(service))
        self.healthy(service)

    def reloaded(self) -> None:
        """Ten times, a second apart."""
        for _ in range(10):
            self.docker("exec", self.named("nginx"), "nginx", "-c", "/etc/nginx/snn-fusion/nginx.conf", "-s", "reload")
            time.sleep(1)

    def update(self, way: str, *options: str) -> None:
        """To the image that runs already: a replica starts as slowly with an old one as with a new one."""
        image = self.stack.engine.run("inspect", "--format", "{{.Image}}", self.named(self.live.active[0])).strip()
        name = f"snn-fusion/service:id-{image.removeprefix('sha256:')[:12]}"
        self.docker("tag", image, name)
        command = [*DEPLOY, way, "--image", name, "--watch", str(self.watch_s), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        sys.stderr.write(done.stderr)
        if done.returncode:
            raise RuntimeError(f"deploy {way} ended with {done.returncode}")


EVENTS: dict[str, Callable[[Happening], None]] = {
    "nothing": lambda stack: time.sleep(AWAY_S),
    GONE: lambda stack: stack.away(stack.live.active[0], "kill", AWAY_S),
    "rolling": lambda stack: stack.update("rolling"),
    "blue-green": lambda stack: stack.update("blue-green"),
    "canary": lambda stack: stack.update("canary", "--trial", str(stack.watch_s)),
    "nginx reload": lambda stack: stack.reloaded(),
    "Redis restart": lambda stack: stack.restarted("redis"),
    "Postgres restart": lambda stack: stack.restarted("postgres"),
    "MLflow down": lambda stack: stack.away("mlflow", "stop", AWAY_S),
}


@dataclass(frozen=True)
class Row:
    """One event: the load, and from when to when (seconds of its clock) it happened."""

    event: str
    load: Load
    since: float
    until: float
    error: str = ""  # why it did not happen as it should

    def meanwhile(self, percentile: float) -> float:
        """Of what was answered while it happened, ms."""
        inside = [took for at, took in self.load.answered if self.since <= at <= self.until]
        return 1000 * float(np.percentile(inside, percentile)) if inside else float("nan")

    def cells(self) -> list[str]:
        load = self.load
        figures = [f"{load.ms(50):.0f}", f"{load.ms(99):.0f}", f"{self.meanwhile(99):.0f}", f"{load.gap:.2f}"]
        failed = sum(load.failed.values())
        counts = [f"{load.count:,}", str(failed), str(load.shortened), str(load.resent)]
        event = f"{self.event} ({self.error})" if self.error else self.event
        return [event, *counts, f"{load.rate:.0f}", *figures, "✓" if self.good else "✗"]

    @property
    def good(self) -> bool:
        """As the goals are: nothing fails, p99 under 100 ms, or under 1 s while a replica is gone; silent under 5 s."""
        slowest = 1000 if self.event in (GONE, "rolling") else 100
        return not self.error and not self.load.failed and self.load.ms(99) < slowest and self.load.gap < 5


def measure(event: str, happening: Happening, client: Client, expected: Expected, count: int, rate: float) -> Row:
    """At least `count` predictions, and as many as come until the event is over."""
    over, times, errors = threading.Event(), [0.0, 0.0], list[str]()

    def work() -> None:
        time.sleep(SETTLE_S)
        times[0] = time.perf_counter()
        try:
            EVENTS[event](happening)
        except Exception as error:  # the load has to end, and the row to say what went wrong
            errors.append(f"{type(error).__name__}: {error}")
        times[1] = time.perf_counter()
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    result = uvloop.run(load(client, expected, count, rate, over))
    thread.join()
    return Row(event, result, *times, "; ".join(errors))


def prepared(fleet: DockerFleet, live: Live, options: Options, state: Path) -> tuple[Client, Expected]:
    """Clients with tokens, and sounds with the labels that they have now."""
    recordings = fleet.recordings(live.active[0])
    sounds = [body["audio"] for body in recordings.bodies if set(body) == {"audio"}]
    sounds = sounds or [body["audio"] for body in recordings.bodies if "audio" in body]
    key = state / "secrets" / "stack.private.json"
    tokens = [issue(key, f"load-{i}", Role.PREDICTOR, 12, "snn-fusion", "snn-fusion").token for i in range(CLIENTS)]
    trusted = state / "secrets" / "tls.crt"
    client = Client(options.host, options.https_port, trusted, tuple(tokens))
    return client, uvloop.run(Expected.asked(client, sounds))


def section(table: Sequence[Sequence[str]], rate: float, watch_s: float) -> str:
    pace = f"at {rate:g} requests a second" if rate else "as fast as answers come"
    return (
        "## Predictions while something happens\n\n"
        '    make bench ARGS="--only failover --write"\n\n'
        f"{CLIENTS} clients that each wait for their answer, {pace}; TLS, a token each, connections that are kept; one "
        "spoken\ndigit a request, none of them twice. Updates are watched for "
        f"{watch_s:g} s. Clients, proxy, replicas and databases share\none machine: {describe()}.\n\n"
        f"{markdown(HEAD, table, lambda i: i > 0)}\n\n"
        f"{NOTES}"
    )


def written() -> dict[str, list[str]]:
    """The rows that the section of docs/results.md has now, by event."""
    lines = RESULTS.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {cells[0].partition(" (")[0]: cells for cells in rows[2:]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="failover", description=__doc__)
    parser.add_argument("--predictions", type=int, default=50_000, help="of each event, at least (50,000)")
    parser.add_argument("--rate", type=float, default=0, help="requests a second of all clients; 0: as many as can be")
    parser.add_argument("--watch", type=float, default=60, help="seconds for which an update is watched (60)")
    parser.add_argument("--event", action="append", choices=list(EVENTS), help="only these; may come again")
    parser.add_argument("--write", action="store_true", help="write docs/results.md's section")
    asked = parser.parse_args()
    state = state_folder()
    options = Options.load(state)
    rows = []
    for event in asked.event or EVENTS:
        live = Live.load(state)
        stack = stacks.stack(options)
        client, expected = prepared(DockerFleet(stack, options, state), live, options, state)
        happening = Happening(stack, live, asked.watch)
        rows.append(measure(event, happening, client, expected, asked.predictions, asked.rate))
        for why, count in rows[-1].load.failed.items():
            sys.stderr.write(f"{event}: {count} times {why}\n")
        show(HEAD, [row.cells() for row in rows])
        if asked.write:
            table = written() | {row.event: row.cells() for row in rows}
            text = section([table[name] for name in EVENTS if name in table], asked.rate, asked.watch)
            replace(RESULTS, BEGIN, END, text)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
