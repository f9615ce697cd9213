"""What a network takes of a SpiNNaker board and does on it, each number with where it comes from.

The energy is sPyNNaker's own model of SpiNNaker 1 (`Version5.get_active_energy` without board and frame):

    chips 0.35 W t + cores 0.034 W t + packets 1 nJ

There is none of SpiNNaker 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.activity import activity
from snn_fusion.targets.contract import Artefact, Measurement, Outputs, Provenance
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.inputs import BIAS
from snn_fusion.targets.spinnaker.structure import cores_of

CONSTANTS = "spinn_machine 7.4.1, version/version_spin1.py"
WATTS_PER_IDLE_CHIP, WATTS_PER_CORE_ACTIVE_OVERHEAD, JOULES_PER_PACKET = 0.35, 0.034, 1e-9
EMULATOR = "s16.15 emulator"


def profile(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], outputs: Outputs) -> Sequence[Measurement]:
    """For one recording on average, where it depends on recordings."""
    meta = artefact.meta
    n, steps = next(iter(outputs.spikes.values())).shape[:2]
    words = sum(len(a) for name, a in artefact.arrays.items() if name.endswith(".weights"))
    neurons = sum(one["size"] for one in meta["populations"].values())
    spikes = sum(int(outputs.spikes[name].sum()) for name in meta["order"]) / n
    sent = sum(int(np.asarray(values).sum()) for values in inputs.values()) / n
    slowdown = slowdown_of(artefact, inputs, outputs)
    cores, chips = cores_and_chips(artefact)
    seconds = (steps + max(meta["depth"].values())) * limits.TIME_STEP * slowdown
    watts = chips * WATTS_PER_IDLE_CHIP + cores * WATTS_PER_CORE_ACTIVE_OVERHEAD
    joules = watts * seconds + (spikes + sent) * JOULES_PER_PACKET
    rate = f"{limits.SYNAPSES_A_SECOND:,} synapses a second and core (spynnaker 7.4.1, synapse_dynamics_static.py)"
    split = f"{limits.NEURONS_A_CORE} neurons a core, and one core an input"
    model = (
        f"chips {WATTS_PER_IDLE_CHIP} W + cores {WATTS_PER_CORE_ACTIVE_OVERHEAD} W, and {JOULES_PER_PACKET:g} J a spike"
    )
    rows: list[tuple[str, float, str, Provenance, str]] = [
        ("neurons", neurons, "", "emulated", "artefact"),
        ("synapses", words, "", "emulated", "artefact, without those that round to 0"),
        (
            "memory",
            4 * words,
            "bytes",
            "estimated",
            "one word of 32 bits a synapse, without the rows' headers",
        ),
        ("cores", cores, "", "estimated", f"{split}, without those of the system"),
        ("chips", chips, "", "estimated", f"cores / {limits.CORES_A_CHIP}"),
        ("input spikes", sent, "a recording", "emulated", "inputs"),
        ("time scale factor", slowdown, "", "estimated", f"synapses that the busiest core meets in a step / {rate}"),
        ("latency", seconds, "s", "estimated", "(steps + depth) * 1 ms * time scale factor"),
        ("power", watts, "W", "estimated", f"{model} ({CONSTANTS})"),
        ("energy", joules, "J", "estimated", f"power * latency, and the spikes ({CONSTANTS})"),
    ]
    return [*(Measurement(*row) for row in rows), *activity(artefact, inputs, outputs, EMULATOR)]


def placed(board: Mapping[str, Any]) -> list[Measurement]:
    """What sPyNNaker's own placement on a virtual board says, in place of estimates: see SpiNNaker.mapping."""
    source = f"sPyNNaker 7.4.1, placed on a virtual board of version {board['version']}, without the system's cores"
    own = [one for one in board["placements"] if one["neurons"] is not None]
    values = {
        "cores": (len(own), ""),
        "chips": (len({(one["x"], one["y"]) for one in own}), ""),
        "memory": (sum(one["sdram"] for one in own), "bytes"),
        "routing entries": (sum(one["entries"] for one in board["routing"]), ""),
    }
    return [Measurement(name, value, unit, board["provenance"], source) for name, (value, unit) in values.items()]


def cores_and_chips(artefact: Artefact) -> tuple[int, int]:
    """Of neurons and sources, and chips that so many cores fill, at least."""
    populations = artefact.meta["populations"].values()
    used = any(way["source"] == BIAS for one in populations for way in one["incoming"])
    cores = cores_of((one["size"] for one in populations), len(artefact.meta["inputs"]) + used)
    return cores, -(-cores // limits.CORES_A_CHIP)


def slowdown_of(artefact: Artefact, inputs: Mapping[str, npt.NDArray[Any]], outputs: Outputs) -> int:
    """How many times slower than 1 ms a step the busiest core has to run."""
    meta, busiest = artefact.meta, 0.0
    n, steps = next(iter(outputs.spikes.values())).shape[:2]
    sent = {**{name: np.asarray(values) for name, values in inputs.items()}, **outputs.spikes}
    for name, one in meta["populations"].items():
        met = np.zeros((n, steps))
        for i, way in enumerate(one["incoming"]):
            fan_out = np.diff(artefact.arrays[f"{name}.{i}.indptr"]).astype(np.float64)
            each = np.full((n, steps), fan_out[0]) if way["source"] == BIAS else sent[way["source"]] @ fan_out
            kept = max(steps - way["delay"], 0)
            met[:, steps - kept :] += each[:, :kept]
        busiest = max(busiest, float(met.max(initial=0)) / -(-one["size"] // limits.NEURONS_A_CORE))
    return max(1, math.ceil(busiest / (limits.SYNAPSES_A_SECOND * limits.TIME_STEP)))
