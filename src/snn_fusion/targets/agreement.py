"""A compiled network beside the reference: how far spikes, and potentials of readouts, are from its.

One formula for every layer: the energy of the error over the energy of the signal. For spikes, of which each is 1, that
is the share that differs (of graded neurons levels count); for a readout, whose signal is what its potential varies by,
it is what the chip leaves unexplained of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snn_fusion.targets.contract import Array, Artefact, Outputs, Violation, refuse
from snn_fusion.targets.near_threshold import Decisions, decide
from snn_fusion.targets.populations import Program
from snn_fusion.targets.reference import simulate
from snn_fusion.targets.trains import trains

MOST = 0.005  # deviation of a layer up to which it agrees; docs/adr/0014
# Share of channels that spike in a step, by recording: those of our own encoders are between 0.03 and 0.14.
RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2)
DENSER = (0.2, 0.4, 0.7, 1.0)  # for layers that answer none of those
EACH, STEPS, LONGER = 8, 50, 400  # recordings of a rate, and steps of each: a small network has few spikes in one
ENOUGH = 200  # spikes of a layer; of fewer, a single one that differs would say more than it can
AT_ONCE = 20_000_000  # neurons times steps that are run together: some hundred MB
ALL = 1.0  # a --max-deviation from which on nothing is refused

Run = Callable[[Artefact, Mapping[str, Array]], Outputs]


@dataclass
class Sums:
    """Over all values of a layer, so that recordings need not be held at once."""

    error: float = 0.0
    squares: float = 0.0
    total: float = 0.0
    count: int = 0
    low: float = np.inf
    high: float = -np.inf

    def add(self, found: Array, wanted: Array) -> None:
        self.error += float(((found - wanted) ** 2).sum())
        self.squares, self.total = self.squares + float((wanted**2).sum()), self.total + float(wanted.sum())
        self.count += wanted.size
        self.low, self.high = min(self.low, float(wanted.min())), max(self.high, float(wanted.max()))

    def deviation(self, spikes: bool) -> float | None:
        """None where nobody can say it: of neurons that never spike, and of a readout that never moves."""
        if spikes:
            return round(self.error / max(self.squares, ENOUGH), 6) if self.squares or self.error else None
        varies = self.squares - self.total**2 / self.count
        return round(self.error / varies, 6) if self.high > self.low and varies > 0 else None


def against_drawn(program: Program, artefact: Artefact, run: Run) -> dict[str, Any]:
    """As `against_reference`, of recordings that are drawn: short ones, denser ones for layers that answer none of
    these, and long and sparse trains.

    A readout deviates as it does in the worse of short ones and trains; a spiking layer as it does in the short ones,
    or by its wrong `decisions` close to the threshold in the trains. (Trains return to the same few states, so that the
    share of spikes that differ there says how often such a state came by.)
    """
    found = against_reference(program, artefact, drawn(program.inputs), run)
    if None in found["deviation"].values():
        more = against_reference(program, artefact, drawn(program.inputs, DENSER, LONGER), run)
        known = {name: one for name, one in found["deviation"].items() if one is not None}
        counts = {key: found[key] + more[key] for key in ("spikes", "differ", "recordings")}
        found = {"deviation": {**more["deviation"], **known}, **counts}
    decisions = {one.name: Decisions() for one in program if one.spikes}
    long = against_reference(program, artefact, trains(program), run, decisions)
    deviation = {}
    for name, one in found["deviation"].items():
        by_spikes = one is not None and name in decisions
        deviation[name] = _higher(one, decisions[name].share() if by_spikes else long["deviation"][name])
    close, wrong = (sum(getattr(one, key) for one in decisions.values()) for key in ("close", "wrong"))
    return {**found, "deviation": deviation, "decisions": {"close": close, "wrong": wrong}}


def _higher(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def drawn(inputs: Mapping[str, int], rates: tuple[float, ...] = RATES, steps: int = STEPS) -> dict[str, Array]:
    """Recordings of 0 and 1 for a network of which none are given, (8 a rate, steps, channels) an input; always the
    same."""
    rng, found = np.random.default_rng(0), {}
    for name, size in inputs.items():
        each = [rng.random((steps, size), np.float32) < rate for rate in rates for _ in range(EACH)]
        found[name] = np.array(each, np.uint8)
    return found


def against_reference(
    program: Program,
    artefact: Artefact,
    recordings: Mapping[str, Array],
    run: Run,
    decisions: Mapping[str, Decisions] | None = None,
) -> dict[str, Any]:
    """What `run` makes of `recordings`, some at a time, beside the program in floating point.

    `deviation` of each layer, None where it cannot be judged, `spikes` of the reference, how many `differ`, and the
    number of `recordings`. Decisions close to the threshold are added to `decisions`, if given.
    """
    sums, spikes, differ = {one.name: Sums() for one in program}, 0, 0
    for part in _parts(program, recordings):
        wanted, found = simulate(program, part), run(artefact, part)
        if decisions is not None:
            decide(program, found, wanted, decisions)
        for one in program:
            if one.spikes:
                ours, right = found.spikes[one.name], wanted.spikes[one.name]
                spikes, differ = spikes + int((right != 0).sum()), differ + int((right != ours).sum())
            else:  # both counted from the reset
                scale = artefact.meta["populations"][one.name]["scale"]
                ours, right = found.potential[one.name] / scale, wanted.potential[one.name]
            sums[one.name].add(ours, right)
    deviation = {one.name: sums[one.name].deviation(one.spikes) for one in program}
    n = len(next(iter(recordings.values())))
    return {"deviation": deviation, "spikes": spikes, "differ": differ, "recordings": n}


def _parts(program: Program, recordings: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    n, steps, _ = next(iter(recordings.values())).shape
    together = max(1, AT_ONCE // (steps * max(1, sum(one.size for one in program))))
    for first in range(0, n, together):
        yield {name: one[first : first + together] for name, one in recordings.items()}


def refuse_deviation(chip: str, deviation: Mapping[str, float | None], most: float, given: bool = False) -> list[str]:
    """Raises BadInput naming the layers that deviate by more than `most`, and those of which nobody can say it; with a
    `most` of 1 nothing is refused, and the latter are warned of. `given`: the recordings were examples."""
    limit = f"at most {most:g}"
    said = {name: "unknown: it answers nothing that was run" for name, one in deviation.items() if one is None}
    beyond = {name: f"{one:.3g}" for name, one in deviation.items() if one is not None and not one <= most}
    found = [
        Violation(name, "deviation from the reference", limit, what, warning=most >= ALL)
        for name, what in (beyond | said).items()
    ]
    problem = "does not run this network as the reference does"
    refuse(chip, found, problem, _remedy(given, bool(said)))
    return [str(one) for one in found]


def _remedy(given: bool, silent: bool) -> str:
    if not given:
        what = "give --examples from its use: scales come from them, and it is judged by them"
    elif silent:
        what = "give --examples that all layers answer"
    else:
        what = "choose a chip of more bits"
    grid = "train weights and decays on the chip's grid (docs/adr/0011)"
    return f"{what}; {grid}; or accept more with --max-deviation (1: anything)"
