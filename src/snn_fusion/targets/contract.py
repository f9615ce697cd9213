"""What every chip implements, and what its functions hand over. `targets/<chip>/` holds one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets.populations import Population, Program

Array = npt.NDArray[Any]
Provenance = Literal["measured", "vendor_simulated", "emulated", "estimated", "unavailable"]


@dataclass(frozen=True)
class Violation:
    """What a chip cannot do with a layer: `limit` is the chip's, `value` the layer's. A warning does not stop it."""

    layer: str
    what: str
    limit: str
    value: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.layer}: {self.what}: {self.value} ({self.limit})"


@dataclass(frozen=True)
class Measurement:
    """One number with where it comes from; `source` names tool, formula or constants. No value: unavailable."""

    metric: str
    value: float | None
    unit: str
    provenance: Provenance
    source: str


@dataclass(frozen=True)
class Artefact:
    """A compiled network: whole numbers in `arrays`, all else in `meta` (JSON). `targets.artefact` stores it."""

    target: str
    meta: Mapping[str, Any]
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class Outputs:
    """By population: `spikes` (n, T, N), and `potential` (n, T, N) before the reset, in the chip's whole numbers."""

    spikes: Mapping[str, Array]
    potential: Mapping[str, Array]


@dataclass(frozen=True)
class Mismatches:
    """Simulator and vendor's toolchain side by side: how many spikes and membrane values differ, of how many; and how
    many of the words that the vendor's compiler wrote (weights, delays, parameters) are not the artefact's."""

    spikes: int
    potentials: int
    compared: int
    tool: str
    words: int = 0
    words_compared: int = 0


@dataclass(frozen=True)
class Rounded:
    """A population with the nearest numbers that a chip holds, as the chip's limits state them, and what a state may
    `lose` beside that in each step, in the network's own unit."""

    population: Population
    lose: float


def nearest(values: npt.NDArray[Any], step: Any) -> npt.NDArray[np.float64]:
    """The nearest multiples of `step`, which broadcasts."""
    found: npt.NDArray[np.float64] = np.rint(values / step) * step
    return found


# Recordings to calibrate by, for each input (n, T, channels); without any, bounds are those of the worst case.
Examples = Mapping[str, Array] | None


class Target(Protocol):
    """The six functions. All are deterministic; none keeps state."""

    name: str
    toolchain: str  # the folder in toolchains/
    simulator: str  # what `run` is, as the source of a measurement

    def check(self, program: Program, examples: Examples = None) -> Sequence[Violation]:
        """Everything that the chip cannot express, all at once."""

    def lower(self, program: Program, examples: Examples = None) -> Artefact:
        """To whole numbers. Raises BadInput with the violations if there are any.

        The synapses of connection i into population P are the arrays P.i.indptr, P.i.indices, P.i.weights: sparse rows,
        a row a source neuron.
        """

    def run(self, artefact: Artefact, inputs: Mapping[str, Array]) -> Outputs:
        """The chip's exact arithmetic on inputs (n, T, channels). Raises BadInput for input it cannot take."""

    def conform(self, artefact: Artefact, inputs: Mapping[str, Array]) -> Mismatches:
        """The same inputs through the vendor's own toolchain. Raises ToolchainFailed, ToolchainMissing."""

    def rounded(self, program: Program, artefact: Artefact) -> Mapping[str, Rounded]:
        """By population: what the chip's stated resolution makes of its numbers, at the artefact's scale. It does not
        look at the artefact's arrays, which are what is judged by it."""

    def profile(self, artefact: Artefact, inputs: Mapping[str, Array], outputs: Outputs) -> Sequence[Measurement]:
        """Resources and activity, each with its provenance."""


@runtime_checkable
class Mapped(Protocol):
    """A target whose vendor's tool alone knows whether a network fits onto the chip."""

    def fits(self, artefact: Artefact) -> None:
        """Raises BadInput where it does not, and why; ToolchainFailed, ToolchainMissing."""


WHOLE = "network"  # layer of a violation that is of no single one: what all of them take together


def can_run(violations: Sequence[Violation]) -> bool:
    """Whether a simulator shows what the network does: nothing but the size of the chip is in its way."""
    return all(v.warning or v.layer == WHOLE for v in violations)


def refuse(
    chip: str,
    violations: Sequence[Violation],
    problem: str = "cannot run this network",
    remedy: str = "change these, or choose another target",
) -> None:
    """Raises BadInput listing what a chip cannot do, if there is anything; warnings are none of it."""
    if listed := "\n".join(f"  {v}" for v in violations if not v.warning):
        raise BadInput(chip, f"{problem}:\n{listed}\n", remedy)


def dequantised(artefact: Artefact, name: str, potential: Array) -> Array:
    """A population's potentials (n, T, N) in the network's own unit, and from where the network counts them."""
    scale: float = artefact.meta["populations"][name]["scale"]
    return np.asarray(potential, np.float64) / scale + artefact.arrays.get(f"{name}.origin", 0.0)


def with_origins(artefact: Artefact, program: Program) -> Artefact:
    """The artefact with what each population's potentials are counted from; a chip counts from its reset."""
    origins = {f"{one.name}.origin": one.origin for one in program if one.origin is not None}
    return replace(artefact, arrays={**artefact.arrays, **origins})
