"""Intel Loihi 2: lava-nc's fixed-point neurons, simulated here to the bit and held to lava itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets import toolchain
from snn_fusion.targets.contract import Artefact, Examples, Measurement, Mismatches, Outputs, Violation
from snn_fusion.targets.loihi2 import limits
from snn_fusion.targets.loihi2.lower import check, cores_of, lower
from snn_fusion.targets.loihi2.simulate import simulate
from snn_fusion.targets.populations import Program

TOOL = "lava-nc 0.10.0, Loihi2SimCfg(select_tag='fixed_pt')"
SECONDS = 300.0


class Loihi2:
    name = "loihi2"

    def check(self, program: Program, examples: Examples = None) -> Sequence[Violation]:
        return check(program)

    def lower(self, program: Program, examples: Examples = None) -> Artefact:
        return lower(program)

    def run(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
        return simulate(artefact, inputs)

    def conform(self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]]) -> Mismatches:
        """Spikes and membrane potentials (after the reset, as lava shows them) of every population and step."""
        ours = simulate(artefact, inputs)
        job = {"meta": np.array(json.dumps(artefact.meta)), **artefact.arrays}
        found = toolchain.call(self.name, job | {f"input.{k}": np.asarray(v) for k, v in inputs.items()}, SECONDS)
        spikes = potentials = compared = 0
        for name in artefact.meta["order"]:
            one = artefact.meta["populations"][name]
            after = ours.potential[name]
            if one["memory"]:
                after = np.where(after > one["vth"] << limits.ALIGNMENT, 0, after)
            spikes += int((found[f"spikes.{name}"] != ours.spikes[name]).sum())
            potentials += int((found[f"potential.{name}"] != after).sum())
            compared += after.size
        return Mismatches(spikes, potentials, compared, TOOL)

    def profile(
        self, artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], outputs: Outputs
    ) -> Sequence[Measurement]:
        """Synapses, memory and cores by Loihi 2's published limits; spikes by the simulator."""
        meta, found = artefact.meta, []
        synapses = {name: len(a) for name, a in artefact.arrays.items() if name.endswith(".weights")}
        neurons = sum(one["size"] for one in meta["populations"].values())
        total = sum(synapses.values())
        recordings = len(next(iter(outputs.spikes.values())))
        fired = sum(int(s.sum()) for s in outputs.spikes.values())
        formula = f"bytes of 8-bit weights / {limits.BYTES_A_CORE} a core, and {limits.NEURONS_A_CORE} neurons a core"
        cores = cores_of(neurons, total)
        found.append(Measurement("neurons", neurons, "", "emulated", "artefact"))
        found.append(Measurement("synapses", total, "", "emulated", "artefact"))
        found.append(Measurement("weight memory", total, "bytes", "emulated", "artefact, 8 bits a synapse"))
        found.append(Measurement("cores", cores, "", "estimated", f"{formula} (Intel technology brief, 2021)"))
        found.append(Measurement("spikes", fired / recordings, "a recording", "emulated", "fixed-point simulator"))
        for metric, unit in (("energy", "J"), ("power", "W"), ("latency", "s")):
            found.append(
                Measurement(metric, None, unit, "unavailable", "lava-nc has no model of it, and no board is here")
            )
        return found
