"""BrainChip Akida, versions 1 and 2: its layers in whole numbers, held to akida's own software backend.

akida is proprietary; toolchains/akida/NOTICE says what its licence asks. No figure of it belongs into the repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets import toolchain
from snn_fusion.targets.activity import activity, unusual
from snn_fusion.targets.akida.lower import check, lower
from snn_fusion.targets.akida.rounded import rounded
from snn_fusion.targets.akida.simulate import simulate, whole_inputs
from snn_fusion.targets.contract import (
    Artefact,
    Examples,
    Measurement,
    Mismatches,
    Outputs,
    Rounded,
    Violation,
    can_run,
)
from snn_fusion.targets.populations import Program

Arrays = Mapping[str, npt.NDArray[Any]]
TOOLCHAIN, TOOL = "akida", "akida 2.19.3"
SECONDS = 300.0


class Akida:
    """`version` 1: counts in windows, fully connected layers of 4 bits. 2: a frame a window, BufferTempConv, 8 bits."""

    toolchain = TOOLCHAIN
    simulator = "simulator in whole numbers, equal to akida's software backend"

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version

    def check(self, program: Program, examples: Examples = None) -> Sequence[Violation]:
        found = check(program, self.version)
        if examples and can_run(found):
            artefact = lower(self.name, program, self.version)
            found += unusual(artefact, simulate(artefact, examples))
        return found

    def lower(self, program: Program, examples: Examples = None) -> Artefact:
        return lower(self.name, program, self.version)

    def run(self, artefact: Artefact, inputs: Arrays) -> Outputs:
        return simulate(artefact, inputs)

    def rounded(self, program: Program, artefact: Artefact) -> Mapping[str, Rounded]:
        return rounded(program, artefact)

    def conform(self, artefact: Artefact, inputs: Arrays) -> Mismatches:
        """Activations and sums of every layer, in akida's software backend after the whole network was mapped with
        `hw_only=True` on the virtual devices of its version; the answer, also on each Akida that is plugged in."""
        whole, ours = whole_inputs(artefact, inputs), simulate(artefact, inputs)
        found = call(artefact, {"do": "run"}, {f"input.{name}": values for name, values in whole.items()})
        devices = _mapped(json.loads(str(found["mapping"])))
        levels = potentials = compared = 0
        for name in artefact.meta["order"]:
            if artefact.meta["populations"][name]["spikes"]:
                levels += int((found[f"levels.{name}"] != ours.spikes[name]).sum())
            wanted = ours.potential[name]
            if artefact.meta["populations"][name]["spikes"] or artefact.meta["version"] == 1:
                wanted = wanted - artefact.arrays[f"{name}.bias"]
            potentials += int((found[f"potential.{name}"] != wanted).sum())
            compared += wanted.size
        answer = artefact.meta["output"]
        real = [key for key in found if key.startswith("device.")]
        for key in real:
            kind = ours.spikes if artefact.meta["populations"][answer]["spikes"] else ours.potential
            potentials += int((found[key] != kind[answer]).sum())
            compared += kind[answer].size
        tool = f"{TOOL}, software backend; mapped with hw_only on {', '.join(devices)}"
        return Mismatches(levels, potentials, compared, tool + (f"; {len(real)} devices" if real else ""))

    def profile(self, artefact: Artefact, inputs: Arrays, outputs: Outputs) -> Sequence[Measurement]:
        """Spikes and synaptic operations by our simulator; what each virtual device needs, where akida is installed."""
        neurons = sum(one["size"] for one in artefact.meta["populations"].values())
        synapses = sum(len(a) for key, a in artefact.arrays.items() if key.endswith(".weights"))
        found = [
            Measurement("neurons", neurons, "", "emulated", "artefact"),
            Measurement("synapses", synapses, "", "emulated", "artefact"),
            *activity(artefact, whole_inputs(artefact, inputs), outputs, self.simulator),
        ]
        found += _resources(artefact)
        for metric, unit in (("energy", "J"), ("power", "W"), ("latency", "s")):
            source = "akida gives it for a device that is plugged in, not for virtual ones"
            found.append(Measurement(metric, None, unit, "unavailable", source))
        return found

    def mapping(self, artefact: Artefact) -> list[dict[str, Any]]:
        """See `mapping`."""
        return mapping(artefact)

    def fits(self, artefact: Artefact) -> None:
        """Raises BadInput where the network does not map onto a virtual device of its version, and why."""
        _mapped(mapping(artefact))


def mapping(artefact: Artefact) -> list[dict[str, Any]]:
    """For each virtual device: does the whole network map onto its hardware (`hw_only`), and onto what of it.

    Raises ToolchainFailed, ToolchainMissing.
    """
    answer: list[dict[str, Any]] = json.loads(str(call(artefact, {"do": "map"}, {})["mapping"]))
    return answer


def call(artefact: Artefact, task: Mapping[str, Any], more: Arrays) -> dict[str, npt.NDArray[Any]]:
    """The runner's answer. Raises ToolchainFailed, ToolchainMissing."""
    texts = {"meta": np.array(json.dumps(artefact.meta)), "task": np.array(json.dumps(task))}
    return toolchain.call(TOOLCHAIN, {**texts, **artefact.arrays, **more}, SECONDS)


def _mapped(devices: list[dict[str, Any]]) -> list[str]:
    """The names of the devices. Raises BadInput saying where the network does not map, and why."""
    refused = [f"{one['device']}: {one['why']}" for one in devices if not one["maps"]]
    if refused:
        problem = "does not map onto the hardware alone:\n" + "\n".join(refused)
        raise BadInput("akida", problem, "make the network smaller, or choose another target")
    return [one["device"] for one in devices]


def _resources(artefact: Artefact) -> list[Measurement]:
    source = f"{TOOL}, virtual device, hw_only"
    try:
        devices = mapping(artefact)
    except toolchain.ToolchainMissing:
        return [Measurement("cores", None, "", "unavailable", "akida is not installed")]
    found = []
    for one in devices:
        if not one["maps"]:
            found.append(Measurement(f"cores on {one['device']}", None, "", "unavailable", one["why"]))
            continue
        count = sum(len(layer["processors"]) for layer in one["layers"])
        inside = sum(layer["weight_bytes"] for layer in one["layers"])
        for metric, value, unit in (
            ("cores", count, ""),
            ("memory", inside, "bytes"),
            ("external memory", one["external_bytes"], "bytes"),
            ("program", one["program_bytes"], "bytes"),
        ):
            name = metric if one is devices[0] else f"{metric} on {one['device']}"
            found.append(Measurement(name, value, unit, "vendor_simulated", f"{source} {one['device']}"))
    return found
