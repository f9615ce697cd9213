"""The service beside the plain one that a user would write (plain_service.py): the same network, the same sounds, one
run, alternating. `make bench ARGS="--only serving"`, after `make demo`.

The load comes from this process. Every answer is checked: the service's against the network's own, to the bit; the
plain one's to rounding. Nothing is cached, and every answer has all steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from engine.machine import describe
from engine.report import markdown
from section import RESULTS, replace, show
from serving_load import Load, Requests, Running, ask, replaced, running

from snn_fusion.data.manifest import load, read_manifest
from snn_fusion.data.recording import Audio
from snn_fusion.serving.model import float_model
from snn_fusion.serving.predict import predict
from snn_fusion.workspace import Workspace

CLIENTS, SOUNDS, RATE = 16, 64, 8000
KILLS = 5
BEGIN, END = '<!-- serving: make bench ARGS="--only serving --write" -->', "<!-- /serving -->"
PLAIN, JSON, PACKED = "plain BentoML and snnTorch, JSON", "service, JSON", "service, packed MessagePack"
GRAPH_FOR_PLAIN = "PLAIN_SERVICE_GRAPH"
NEVER_SHORTER = {"SNN_FUSION_SERVE_PRESSURE_MS": "60000"}


@dataclass
class Found:
    """Of one way to ask: the loads of all rounds, at CLIENTS clients and at one; and the starts of its service."""

    many: list[Load] = field(default_factory=list)
    one: list[Load] = field(default_factory=list)
    ready_s: float = 0.0

    @property
    def rate(self) -> float:
        return float(np.median([load.rate for load in self.many]))

    def ms(self, loads: list[Load], percentile: float) -> float:
        return 1000 * float(np.percentile([one for load in loads for one in load.latencies], percentile))


def sounds(ws: Workspace, count: int = SOUNDS) -> list[list[float]]:
    """Real test recordings, cut or filled up with silence to one second: the plain service batches equal lengths."""
    rows = [row for row in read_manifest(ws.path("recordings", "manifest.parquet")) if row.split == "test"]
    found = []
    for row in [row for row in rows if row.has("audio")][:count]:
        signal = load(ws.path("recordings"), row.senses["audio"], "audio")
        assert isinstance(signal, Audio) and signal.rate == RATE
        second = np.zeros(RATE)
        second[: len(signal.samples)] = signal.samples[:RATE]
        found.append(second.round(5).tolist())
    return found


def requests(graph: Path, given: list[list[float]]) -> dict[str, Requests]:
    """The three ways to ask for the class of these sounds."""
    model = float_model(graph, "")
    wanted = [predict(model, {"audio": Audio(np.array(one, np.float32), RATE)}).last.scores for one in given]
    exact = [dict(zip(model.classes, one.tolist(), strict=True)) for one in wanted]

    def ours(which: int, content: bytes) -> bool:
        found = msgspec.json.decode(content)
        return found["scores"] == exact[which] and found["steps"] == model.graph.encoding.steps

    def plain(which: int, content: bytes) -> bool:
        return bool(np.allclose(msgspec.json.decode(content)[0], wanted[which], rtol=1e-3, atol=1e-3))

    def packed(one: list[float]) -> Any:
        return {"audio": {"samples": np.array(one, "<f4").tobytes(), "rate": RATE}}

    as_json = [msgspec.json.encode({"audio": {"samples": one, "rate": RATE}}) for one in given]
    as_packed = [msgspec.msgpack.encode(packed(one)) for one in given]
    as_plain = [msgspec.json.encode({"samples": [one]}) for one in given]
    return {
        PLAIN: Requests("/predict", "application/json", as_plain, plain),
        JSON: Requests("/v1/predict", "application/json", as_json, ours),
        PACKED: Requests("/v1/predict", "application/msgpack", as_packed, ours),
    }


def measure(services: dict[str, Running], asked: dict[str, Requests], rounds: int) -> dict[str, Found]:
    """Alternating rounds; the first, in which caches and batch sizes settle, is not counted."""
    found = {name: Found(ready_s=services[name].ready_s) for name in asked}
    for turn in range(rounds + 1):
        for name, one in asked.items():
            few = 160 if name == PLAIN else 640  # about as long
            many, single = ask(services[name].port, one, few, CLIENTS), ask(services[name].port, one, few // 8, 1)
            if turn:
                found[name].many.append(many)
                found[name].one.append(single)
    return found


def memory(service: Running, one: Requests, count: int) -> tuple[float, float]:
    """MB of the service before and after `count` requests, and after some that nothing is measured of."""
    ask(service.port, one, min(count, 5_000), CLIENTS)
    before = service.memory
    ask(service.port, one, count, CLIENTS)
    return before / 1e6, service.memory / 1e6


def rows(found: dict[str, Found]) -> list[list[str]]:
    return [
        [
            name,
            f"{one.rate:.0f}",
            f"{one.ms(one.many, 50):.1f}",
            f"{one.ms(one.many, 99):.1f}",
            f"{one.ms(one.one, 50):.1f}",
            f"{one.ready_s:.1f}",
        ]
        for name, one in found.items()
    ]


HEAD = ["", "requests/s", "p50, ms", "p99, ms", "p50 of a single client, ms", "ready after, s"]


def goals(
    found: dict[str, Found], used: tuple[float, float], count: int, replaced_s: float
) -> list[tuple[str, str, str, bool]]:
    """What, wanted, reached, and whether that is enough."""
    ours, times = found[JSON], found[JSON].rate / found[PLAIN].rate
    p99, single, grown = ours.ms(ours.many, 99), ours.ms(ours.one, 50), used[1] - used[0]
    return [
        (f"requests a second, times the plain service's, {CLIENTS} clients, JSON", "3x", f"{times:.1f}x", times >= 3),
        (f"p99, {CLIENTS} clients, JSON", "< 100 ms", f"{p99:.0f} ms", p99 < 100),
        ("p50, a single client, JSON", "< 10 ms", f"{single:.1f} ms", single < 10),
        ("ready", "< 15 s", f"{ours.ready_s:.1f} s", ours.ready_s < 15),
        ("a killed process is replaced within", "< 2 s", f"{replaced_s:.1f} s", replaced_s < 2),
        (f"memory after {count:,} requests", "flat", f"{used[0]:.0f} to {used[1]:.0f} MB", grown < 0.03 * used[0]),
    ]


def section(found: dict[str, Found], reached: list[tuple[str, str, str, bool]], rounds: int) -> str:
    goals = [[what, wanted, got, "✓" if good else "✗"] for what, wanted, got, good in reached]
    return (
        "## The service against a plain one\n\n"
        '    make bench ARGS="--only serving --write"\n\n'
        f"One second of real sound a request, {CLIENTS} clients that each wait for their answer, load from another "
        f"process,\nevery answer checked, {rounds} alternating rounds; nothing cached, all steps. On {describe()}.\n\n"
        f"{markdown(HEAD, rows(found), lambda i: i > 0)}\n\n"
        f"{markdown(['', 'wanted', 'reached', ''], goals, lambda i: i in (1, 2))}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (5)")
    parser.add_argument("--requests", type=int, default=100_000, help="after which memory is looked at again (100,000)")
    parser.add_argument("--write", action="store_true", help="write docs/results.md's section")
    options = parser.parse_args()
    ws = Workspace.default()
    graph = ws.path("trained", "graph")
    asked = requests(graph, sounds(ws))
    ours = {"SNN_FUSION_SERVE_MODEL": str(graph), "SNN_FUSION_SERVE_CACHE": "0", **NEVER_SHORTER}
    with tempfile.TemporaryDirectory() as folder:
        bentoml = str(Path(sys.executable).with_name("bentoml"))
        service = running([sys.executable, "-m", "snn_fusion.serving.parent"], Path(folder), ours, "/ready")
        plain = running(
            [bentoml, "serve", "plain_service:Plain"], Path(folder), {GRAPH_FOR_PLAIN: str(graph)}, "/readyz"
        )
        with plain as theirs, service as started:
            services = {PLAIN: theirs, JSON: started, PACKED: started}
            found = measure(services, asked, options.rounds)
            used = memory(started, asked[PACKED], options.requests)
            replaced_s = float(np.median([replaced(started, "/ready") for _ in range(KILLS)]))
    reached = goals(found, used, options.requests, replaced_s)
    show(HEAD, rows(found))
    show(["", "wanted", "reached", ""], [[*one, "✓" if good else "✗"] for *one, good in reached])
    if options.write:
        replace(RESULTS, BEGIN, END, section(found, reached, options.rounds))
    return 0 if all(good for *_, good in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
