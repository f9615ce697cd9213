"""The emulator and its whole numbers beside what the vendor's tools made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.targets.contract import Artefact, Outputs
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.inputs import BIAS

Array = npt.NDArray[Any]
ROUNDING = 1e-6  # of brian2's doubles, in units of s16.15: values below 2^31 are exact to 2^-21


def words_that_differ(artefact: Artefact, name: str, compiled: Mapping[str, Array]) -> tuple[int, int]:
    """Synapses of a population that only one side has, and how many there are: (source population, source, target,
    delay, word) of each."""
    meta = artefact.meta
    one = meta["populations"][name]
    used = any(way["source"] == BIAS for each in meta["populations"].values() for way in each["incoming"])
    order = [*meta["inputs"], *([BIAS] if used else []), *meta["order"]]
    ours = []
    for i, way in enumerate(one["incoming"]):
        indptr, indices, words = (artefact.arrays[f"{name}.{i}.{part}"] for part in ("indptr", "indices", "weights"))
        source = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        wait = way["delay"] + meta["depth"][name] - meta["depth"].get(way["source"], 0)
        from_, later = np.full(len(words), order.index(way["source"])), np.full(len(words), wait)
        ours.append(np.column_stack([from_, source, indices, later, words]).astype(np.int64))
    mine = np.concatenate([*ours, np.zeros((0, 5), np.int64)])
    both = np.concatenate([mine, compiled[f"words.{name}"].astype(np.int64)])
    # Alike rows lie side by side then. np.unique of rows is some times slower.
    ranked = np.lexsort(both.T[::-1])
    both, signed = both[ranked], np.where(ranked < len(mine), 1, -1)
    group = np.cumsum(np.concatenate([[False], (both[1:] != both[:-1]).any(axis=1)])[: len(both)])
    return int(np.abs(np.bincount(group, signed)).sum()), len(mine)


def parameters_that_differ(artefact: Artefact, name: str, compiled: Mapping[str, Array]) -> tuple[int, int]:
    """Shifts of each core and s16.15 parameters of each neuron that are not the artefact's, and how many there are."""
    tau, threshold = artefact.arrays[f"{name}.tau"], artefact.arrays[f"{name}.threshold"]
    zero, step = np.zeros_like(tau), np.full_like(tau, limits.ONE)
    # v, v_rest, cm, tau_m, i_offset, v_reset, tau_refrac, refractory timer, time step, threshold
    wanted = np.column_stack([zero, zero, tau, tau, zero, zero, zero, zero, step, threshold])
    shifts = compiled[f"shifts.{name}"]
    wrong = int((compiled[f"neurons.{name}"] != wanted).sum())
    wrong += int((shifts != np.array(artefact.meta["populations"][name]["shifts"])).sum())
    return wrong, wanted.size + shifts.size


def close_to_brian2(artefact: Artefact, name: str, ours: Outputs, golden: Array) -> npt.NDArray[np.bool_]:
    """Where our potential after the reset is brian2's real number plus what truncation can add, (n, T, N).

    brian2 computes v' = E v + (1 - E) I exactly, from the same words and the same decay E. The chip computes
    V' = alpha - floor(E (alpha - V)), in units of s16.15, and floor(x) = x - f with 0 <= f < 1. So

        V' = E V + (1 - E) alpha + f,    and of the difference D = V - v:    D' = E D + f.

    D starts at 0, so 0 <= D < 1 + E + E^2 + ... = 1 / (1 - E), as long as both have spiked alike; a reset sets it to 0.
    """
    after = np.where(ours.spikes[name] > 0, 0, ours.potential[name])
    apart = after - golden * limits.ONE
    bound = limits.ONE / (limits.ONE - artefact.arrays[f"{name}.decay"].astype(np.float64))
    close: npt.NDArray[np.bool_] = (apart >= -ROUNDING) & (apart < bound + ROUNDING)
    return close
