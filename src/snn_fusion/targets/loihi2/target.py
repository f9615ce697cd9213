"""Intel Loihi 2: lava-nc's fixed-point neurons, simulated here to the bit and held to lava itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.activity import activity, unusual
from snn_fusion.targets.contract import (
    Artefact,
    Examples,
    Measurement,
    Mismatches,
    Outputs,
    Rounded,
    Violation,
    can_run,
    refuse,
)
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.loihi2.check import cores_of, held, numbers, structure
from snn_fusion.targets.loihi2.lower import lower_with, scales
from snn_fusion.targets.loihi2.rounded import rounded
from snn_fusion.targets.loihi2.simulate import simulate
from snn_fusion.targets.populations import Program
from snn_fusion.targets.toolchain import call

TOOL = "lava-nc 0.10.0, Loihi2SimCfg(select_tag='fixed_pt')"
SECONDS = 300.0
BOARD = "SNN_FUSION_LOIHI2"  # =board: through Intel's extension of lava, not its simulation
ON_BOARD = "lava-nc 0.10.0, Loihi2HwCfg: a board"
UNKNOWN = (("latency", "s"), ("power", "W"), ("energy", "J"))


def on_board() -> bool:
    return os.environ.get(BOARD) == "board"


class Loihi2:
    name = toolchain = "loihi2"
    simulator = "fixed-point simulator, equal to lava-nc's to the bit"

    def check(self, program: Program, examples: Examples = None) -> Sequence[Violation]:
        scale = scales(program, examples)
        found = structure(program) + numbers(program, scale)
        if examples and can_run(found):
            artefact = lower_with(program, scale)
            ran = simulate(artefact, examples)
            found += [*held(ran), *unusual(artefact, ran)]
        return found

    def lower(self, program: Program, examples: Examples = None) -> Artefact:
        scale = scales(program, examples)
        refuse(self.name, structure(program) + numbers(program, scale))
        return lower_with(program, scale)

    def run(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
        return simulate(artefact, inputs)

    def rounded(self, program: Program, artefact: Artefact) -> Mapping[str, Rounded]:
        return rounded(program, artefact)

    def conform(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Mismatches:
        """Spikes and membrane potentials (after the reset, as lava shows them) of every population and step."""
        ours, found = simulate(artefact, inputs), self.in_lava(artefact, inputs)
        spikes = potentials = compared = 0
        for name in artefact.meta["order"]:
            one = artefact.meta["populations"][name]
            after = ours.potential[name]
            if one["memory"]:
                after = np.where(after > one["vth"] << limits.ALIGNMENT, 0, after)
            spikes += int((found[f"spikes.{name}"] != ours.spikes[name]).sum())
            potentials += int((found[f"potential.{name}"] != after).sum())
            compared += after.size
        return Mismatches(spikes, potentials, compared, ON_BOARD if on_board() else TOOL)

    def in_lava(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """What lava makes of it: `spikes.NAME` and `potential.NAME` (n, T, N), and the `seconds` of its run.

        On a board where SNN_FUSION_LOIHI2=board. Raises ToolchainFailed, ToolchainMissing.
        """
        board = np.array("yes" if on_board() else "no")
        job = {"meta": np.array(json.dumps(artefact.meta)), "board": board, **artefact.arrays}
        return call(self.name, job | {f"input.{k}": np.asarray(v) for k, v in inputs.items()}, SECONDS)

    def profile(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], outputs: Outputs
    ) -> Sequence[Measurement]:
        """Synapses, memory and cores by Loihi 2's published limits; activity by the simulator."""
        synapses = sum(len(a) for name, a in artefact.arrays.items() if name.endswith(".weights"))
        neurons = sum(one["size"] for one in artefact.meta["populations"].values())
        formula = f"bytes of 8-bit weights / {limits.BYTES_A_CORE} a core, and {limits.NEURONS_A_CORE} neurons a core"
        nothing = "lava-nc has no model of it, and no board is here"
        return [
            Measurement("neurons", neurons, "", "emulated", "artefact"),
            Measurement("synapses", synapses, "", "emulated", "artefact: two of 8 bits for each weight"),
            Measurement("memory", synapses, "bytes", "estimated", "8 bits a synapse"),
            Measurement("cores", cores_of(neurons, synapses), "", "estimated", f"{formula} (Intel brief, 2021)"),
            *activity(artefact, inputs, outputs, self.simulator),
            *(Measurement(m, None, u, "unavailable", nothing) for m, u in UNKNOWN),
        ]
