"""What one library alone shows: scaling over threads, memory of a step, cost against the number of spikes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.driver import LOOP, OURS, Worker
from engine.workloads import RECURRENT, WIDE, Workload, make_problem, save

WANTED_SCALING, WANTED_MEMORY = 1.7, 0.5
TINY = {"batch": 2, "steps": 4}
SWEEPS: dict[str, tuple[str, tuple[float, ...]]] = {
    "density": ("spikes a channel and step, %", (0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.09)),
    "batch": ("recordings in the batch", (16, 32, 64, 128, 192, 256)),
    "steps": ("steps T", (25, 50, 100, 150, 200)),
    "neurons": ("LIF neurons", (64, 128, 256, 384, 512)),
}


@dataclass(frozen=True)
class Line:
    """Milliseconds against a size, and the least-squares line through them."""

    label: str
    x: tuple[float, ...]
    ms: tuple[float, ...]

    @property
    def fit(self) -> tuple[float, float]:
        slope, offset = np.polyfit(self.x, self.ms, 1)
        return float(slope), float(offset)

    @property
    def r2(self) -> float:
        slope, offset = self.fit
        rest = np.asarray(self.ms) - (slope * np.asarray(self.x) + offset)
        return float(1 - (rest**2).sum() / ((np.asarray(self.ms) - np.mean(self.ms)) ** 2).sum())


def scaling(rounds: int, folder: Path) -> dict[str, float]:
    """Our training step on one thread and on two, in turns: milliseconds, and how many times faster two are."""
    file = folder / "scaling.npz"
    save(make_problem(WIDE), file)
    ms: dict[int, list[float]] = {1: [], 2: []}
    with Worker("ours", 1) as one, Worker("ours", 2) as two:
        for worker in (one, two):
            worker.ask("load", variant=OURS, problem=str(file))
            worker.ask("time", variant=OURS, calls=2)
        for _ in range(rounds):
            for threads, worker in ((1, one), (2, two)):
                ms[threads].append(statistics.median(worker.ask("time", variant=OURS, calls=8)["ms"]))
    times = statistics.median(a / b for a, b in zip(ms[1], ms[2], strict=True))
    return {"one": statistics.median(ms[1]), "two": statistics.median(ms[2]), "times": times}


def memory(folder: Path) -> dict[str, dict[str, float]]:
    """Peak MB of one training step above what was there before it, each in a process of its own.

    The inputs are there before: events for ours, dense for snnTorch. A tiny step first loads and compiles.
    """
    libraries = {OURS: "ours", LOOP: "snntorch", "snnTorch, hoisted": "snntorch"}
    found: dict[str, dict[str, float]] = {}
    for work in (WIDE, RECURRENT):
        tiny, file = folder / "tiny.npz", folder / "memory.npz"
        save(make_problem(replace(work, **TINY)), tiny)
        save(make_problem(work), file)
        for variant, library in libraries.items():
            with Worker(library) as worker:
                worker.ask("load", variant=variant, problem=str(tiny))
                worker.ask("time", variant=variant, calls=1)
                worker.ask("load", variant=variant, problem=str(file))
                found.setdefault(work.name, {})[variant] = worker.ask("peak", variant=variant)["mb"]
    return found


def cost(rounds: int, folder: Path) -> dict[str, Line]:
    """Our training step while one size of the first workload changes, all points in turns."""
    points = [(name, value, _with(name, value)) for name, (_, values) in SWEEPS.items() for value in values]
    ms: dict[tuple[str, float], list[float]] = {}
    with Worker("ours") as worker:
        for _ in range(rounds):
            for name, value, work in points:
                file = folder / f"{name}-{value}.npz"
                if not file.exists():
                    save(make_problem(work), file)
                worker.ask("load", variant=OURS, problem=str(file))
                taken = worker.ask("time", variant=OURS, calls=5)["ms"]
                ms.setdefault((name, value), []).append(min(taken))
    return {
        name: Line(label, values, tuple(statistics.median(ms[name, value]) for value in values))
        for name, (label, values) in SWEEPS.items()
    }


def _with(name: str, value: float) -> Workload:
    return replace(WIDE, **{name: value if name == "density" else int(value)})
