"""One workload in all libraries: equal results first, then times in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.driver import LOOP, MODULE, OURS, Worker, WorkerFailed
from engine.workloads import BETA, THRESHOLD, Float32, Problem, Workload, make_problem, save

TURN_MS, FEWEST, MOST = 300.0, 2, 200  # a turn: about so long, and so many timed calls
COSINE, RELATIVE = 0.99999, 1e-4  # what counts as equal


@dataclass(frozen=True)
class Agreement:
    """With snnTorch's loop: loss or potential (relative), worst gradient (cosine, error relative to its largest)."""

    value: float
    cosine: float
    relative: float

    @property
    def equal(self) -> bool:
        return self.value < RELATIVE and self.cosine > COSINE and self.relative < RELATIVE


@dataclass
class Comparison:
    """`ms[variant]`: the median call of each round's turn. `failed[variant]`: why there is no time."""

    work: Workload
    ms: dict[str, list[float]] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def median(self, variant: str) -> float:
        return statistics.median(self.ms[variant])

    def ratio(self, variant: str, over: str = OURS) -> float:
        """How many times the time of `over`, round by round, so that a slow moment of the machine counts for both."""
        return statistics.median(a / b for a, b in zip(self.ms[variant], self.ms[over], strict=True))

    @property
    def fastest(self) -> str | None:
        """The fastest peer, whatever its settings."""
        peers = [variant for variant in self.ms if variant not in (OURS, MODULE)]
        return min(peers, key=self.median) if peers else None


def compare(
    problem: Problem, teams: Mapping[str, Worker], variants: Mapping[str, str], rounds: int, folder: Path
) -> Iterator[Comparison]:
    """`variants`: each variant's library. Yields the comparison after every round; all rounds have every variant."""
    file = folder / f"{problem.work.name}.npz"
    save(problem, file)
    found = Comparison(problem.work)
    calls: dict[str, int] = {}
    results: dict[str, dict[str, Float32]] = {}
    for variant, library in variants.items():
        if variant == MODULE and problem.work.training:
            continue  # the same as ours
        team = teams[library]
        try:
            team.ask("load", variant=variant, problem=str(file))
            once = team.ask("time", variant=variant, calls=1)["ms"][0]
            calls[variant] = int(min(max(TURN_MS / once, FEWEST), MOST))
            results[variant] = _result(team, variant, folder)
        except WorkerFailed as error:
            found.failed[variant] = str(error)
    if LOOP in results:
        found.agreement = {variant: agreement(result, results[LOOP]) for variant, result in results.items()}
    order = list(calls)
    for _ in range(rounds):
        for variant in order:
            taken = teams[variants[variant]].ask("time", variant=variant, calls=calls[variant])["ms"]
            found.ms.setdefault(variant, []).append(statistics.median(taken))
        order = [*order[1:], order[0]]  # nobody always follows the same one
        yield found


def _result(team: Worker, variant: str, folder: Path) -> dict[str, Float32]:
    file = folder / "result.npz"
    team.ask("result", variant=variant, file=str(file))
    with np.load(file) as arrays:
        return dict(arrays)


def agreement(found: Mapping[str, Float32], wanted: Mapping[str, Float32]) -> Agreement:
    gradients = [name for name in wanted if name not in ("loss", "potential")]
    value = "loss" if "loss" in wanted else "potential"
    cosines, errors = [1.0], [0.0]
    for name in gradients:
        a, b = found[name].ravel().astype(np.float64), wanted[name].ravel().astype(np.float64)
        cosines.append(float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)))
        errors.append(_relative(a, b))
    return Agreement(_relative(found[value], wanted[value]), min(cosines), max(errors))


def _relative(a: Any, b: Any) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def hidden_rate(work: Workload) -> float:
    """Spikes a hidden neuron and step, by the definition of the network, for the description."""
    problem = make_problem(work)
    current = problem.dense(time_first=True) @ problem.weights  # (T, B, N)
    kept, spikes = np.zeros_like(current[0]), 0
    fired = np.zeros(kept.shape, np.bool_)
    for now in current:
        fed = fired.astype(np.float32) @ problem.recurrent if work.recurrent else 0.0
        potential = BETA * kept + now + fed
        fired = potential > THRESHOLD
        spikes += int(fired.sum())
        kept = np.where(fired, 0, potential)
    return spikes / current.size
