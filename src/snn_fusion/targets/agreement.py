"""A compiled network beside the reference: how far spikes, and potentials of readouts, are from its.

One formula for every layer: the energy of the error over the energy of the signal. For spikes, of which each is 1, that
is the share that differs (of graded neurons levels count); for a readout, whose signal is what its potential varies by,
it is what the chip leaves unexplained of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snn_fusion.targets.alone import alone, inputs_of, moves
from snn_fusion.targets.contract import Array, Artefact, Outputs, Target, Violation, refuse
from snn_fusion.targets.near_threshold import Decisions
from snn_fusion.targets.populations import Program
from snn_fusion.targets.reference import simulate
from snn_fusion.targets.trains import trains

MOST = 0.005  # deviation of a layer up to which it agrees; docs/adr/0014
# Share of channels that spike in a step, by recording: those of our own encoders are between 0.03 and 0.14.
RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2)
DENSER = (0.2, 0.4, 0.7, 1.0)  # for layers that answer none of those
CARRIED = 100.0  # times as much may a whole network deviate on drawn recordings, if each layer by itself agrees
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


def against_drawn(program: Program, artefact: Artefact, chip: Target) -> dict[str, Any]:
    """As `against_reference`, of recordings that are drawn: short ones, denser ones for layers that answer none of
    these, and long and sparse trains.

    `deviation` is that of each layer by itself, on the spikes that the reference sends it: the higher of the energy of
    its error, as far as the chip's stated resolution does not explain it, and of the share of wrong `decisions` close
    to the threshold. `carried` is that of the whole network, in which each difference moves others, on the short ones.
    """
    short = drawn(program.inputs)
    found = against_reference(program, artefact, short, chip.run)
    layers = {one.name: Layer() for one in program}
    each_alone(program, artefact, short, chip, layers)
    carried = found["deviation"]
    if None in carried.values():
        dense = drawn(program.inputs, DENSER, LONGER)
        more = against_reference(program, artefact, dense, chip.run)
        carried = {name: more["deviation"][name] if one is None else one for name, one in carried.items()}
        found |= {key: found[key] + more[key] for key in ("spikes", "differ", "recordings")}
        each_alone(program, artefact, dense, chip, layers)
    each_alone(program, artefact, trains(program), chip, layers)
    deviation = {one.name: layers[one.name].deviation(one.spikes, carried[one.name]) for one in program}
    close, wrong = (sum(getattr(one.decisions, key) for one in layers.values()) for key in ("close", "wrong"))
    decided = {"decisions": {"close": close, "wrong": wrong}}
    return {**found, "deviation": deviation, "carried": carried, **decided}


@dataclass
class Layer:
    """What a layer does by itself: its error, and its decisions close to the threshold."""

    sums: Sums = field(default_factory=Sums)
    decisions: Decisions = field(default_factory=Decisions)

    def deviation(self, spikes: bool, carried: float | None) -> float | None:
        """The higher of the two; None where the layer answered nothing that was run, as `carried` says."""
        if carried is None:
            return None
        both = (self.sums.deviation(spikes), self.decisions.share() if spikes else None)
        return max((one for one in both if one is not None), default=0.0)


def each_alone(
    program: Program, artefact: Artefact, recordings: Mapping[str, Array], chip: Target, layers: Mapping[str, Layer]
) -> None:
    """Add to `layers` what each of them makes of what the reference sends it."""
    numbers = chip.rounded(program, artefact)
    for part in _parts(program, recordings):
        wanted = simulate(program, part)
        sent = {**part, **wanted.spikes}
        for one in program:
            layer = alone(artefact, one.name)
            found = chip.run(layer, inputs_of(layer, one.name, sent))
            mine, right, u = layers[one.name], wanted.spikes[one.name], wanted.potential[one.name]
            if not one.spikes:
                mine.sums.add(found.potential[one.name] / layer.meta["populations"][one.name]["scale"], u)
                continue
            moved = moves(one, numbers[one.name], (program.reset, program.reset_delay), sent, right, u)
            ours = found.spikes[one.name]
            decides = mine.decisions.add(one, program.reset, ours, right, u, moved)
            mine.sums.add(np.where(decides, ours, right), right)


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
) -> dict[str, Any]:
    """What `run` makes of `recordings`, some at a time, beside the program in floating point.

    `deviation` of each layer, None where it cannot be judged, `spikes` of the reference, how many `differ`, and the
    number of `recordings`.
    """
    sums, spikes, differ = {one.name: Sums() for one in program}, 0, 0
    for part in _parts(program, recordings):
        wanted, found = simulate(program, part), run(artefact, part)
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


def refuse_deviation(
    chip: str,
    deviation: Mapping[str, float | None],
    most: float,
    carried: Mapping[str, float | None] | None = None,
) -> list[str]:
    """Raises BadInput naming the layers that deviate by more than `most`, and those of which nobody can say it; with a
    `most` of 1 nothing is refused, and the latter are warned of.

    `carried`: what drawn recordings gave for the whole network; more than `most` is warned of, more than CARRIED times
    that is refused. Without it, `deviation` is that of examples.
    """
    said = {name: "unknown: none of the recordings makes it answer" for name, one in deviation.items() if one is None}
    beyond = {name: f"{one:.3g}" for name, one in deviation.items() if one is not None and not one <= most}
    what = "deviation from the reference"
    found = [
        Violation(name, what, f"at most {most:g}", value, warning=most >= ALL)
        for name, value in (beyond | said).items()
    ]
    highest = CARRIED * most
    for name, one in (carried or {}).items():
        if one is not None and name not in beyond and not one <= most:
            far = not one <= highest
            whole = f"{what}, as differences are carried on from spike to spike"
            limit = f"at most {highest:g}" if far else f"{most:g}; examples from its use say what it is there"
            found.append(Violation(name, whole, limit, f"{one:.3g}", warning=not far or most >= ALL))
    problem = "does not run this network as the reference does"
    refuse(chip, found, problem, _remedy(carried is None, bool(said)))
    return [str(one) for one in found]


def _remedy(given: bool, silent: bool) -> str:
    if not given:
        what = "give --examples from its use: scales are then taken from them, and so is the deviation"
    elif silent:
        what = "give --examples to which all layers respond"
    else:
        what = "choose a chip of more bits"
    grid = "train weights and decays on the chip's grid (docs/adr/0011)"
    return f"{what}; {grid}; or accept more with --max-deviation (1: anything)"
