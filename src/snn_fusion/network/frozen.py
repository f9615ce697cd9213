"""Answers in microseconds: a spiking layer and its readout with weights that stay as they are, in one compiled call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from torch import Tensor

from snn_fusion.encoding.spikes import Int32, Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network import forward_kernels as kernels
from snn_fusion.network.call import packed, per_neuron
from snn_fusion.network.checks import check_layer, check_spikes, check_tensor, takes
from snn_fusion.network.checks import sound as all_sound
from snn_fusion.network.forward_kernels import Floats
from snn_fusion.network.lanes import WIDTH
from snn_fusion.network.neurons import LIF, RESETS
from snn_fusion.network.threads import spread


class Frozen:
    """What `engine.spiking_readout` gives with `last`, for inference: no torch, no gradients, no state between calls.

    The weights are copied: later changes of the tensors don't reach it. Raises BadInput.
    """

    def __init__(
        self, weights: Tensor, neuron: LIF, readout: Tensor, readout_beta: Tensor, recurrent: Tensor | None = None
    ) -> None:
        if not takes(weights):
            found = f"are {weights.dtype} on {weights.device}"
            raise BadInput("weights", found, "freeze on the CPU, in single or double precision")
        check_layer(weights, neuron, recurrent, readout, readout_beta)
        check_tensor("weights", weights, tuple(weights.shape), weights)
        n = weights.shape[1]
        self.channels, self.outputs = weights.shape[0], readout.shape[1]
        rows, outward = packed(weights), packed(readout)
        back = np.empty((len(rows), 0, WIDTH), rows.dtype) if recurrent is None else packed(recurrent)
        decay = per_neuron(neuron.beta.detach().clamp(0, 1), n)
        layer = (decay, float(neuron.threshold), RESETS.index(neuron.reset))
        self._fixed = (rows, back, *layer, outward, float(readout_beta.detach().clamp(0, 1)))

    def __call__(self, spikes: Spikes, recordings: int = 1) -> npt.NDArray[Any]:
        """Readout potentials after the last step, (recordings, outputs). Raises BadInput."""
        if spikes.channels != self.channels:
            problem = f"is {spikes.channels}, the network has {self.channels}"
            raise BadInput("spikes.channels", problem, "encode as the network was trained")
        indptr, index = spikes.indptr, spikes.index
        if not (_flat(indptr) and _flat(index)) or recordings < 1:
            check_spikes(spikes, recordings)
        output = np.empty((recordings, self.outputs), self._fixed[0].dtype)
        given = (indptr, index, *self._fixed, recordings, output)
        if recordings == 1:
            sound = _checked_answer(*given, self.channels)
        elif sound := _sound(indptr, index, self.channels, recordings):
            operations = len(self._fixed[0]) * (len(index) + 8 * len(indptr))
            spread(lambda first, last: _answer(*given, first, last), recordings, operations)
        if not sound:
            check_spikes(spikes, recordings)  # raises, and says where
        return output


def _flat(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.int32 and array.ndim == 1 and array.flags.c_contiguous


@njit(cache=True, nogil=True, error_model="numpy")
def _sound(indptr: Int32, index: Int32, channels: int, recordings: int) -> bool:
    rows = len(indptr) - 1
    if rows < 1 or rows % recordings or indptr[0] != 0 or indptr[rows] != len(index):
        return False
    return bool(all_sound(indptr, index, channels))


@njit(cache=True, nogil=True, error_model="numpy")
def _answer(
    indptr: Int32,
    index: Int32,
    weights: Floats,  # (K, C, W)
    recurrent: Floats,  # (K, N, W), or (K, 0, W)
    beta: Floats,
    threshold: float,
    reset: int,
    readout: Floats,  # (Q, N, W)
    readout_beta: float,
    recordings: int,
    output: Floats,  # (B, O)
    first: int,
    last: int,
) -> None:
    """The recordings first ... last - 1, with memory of their own."""
    blocks, here, steps = weights.shape[0], last - first, (len(indptr) - 1) // recordings
    rows, active, plain = indptr[first * steps : last * steps + 1], np.ones(here, np.bool_), recurrent.shape[1] == 0
    bits = np.empty((blocks, here, steps), np.uint32)
    potential = np.empty((blocks, 0 if plain else here, steps, WIDTH), weights.dtype)
    current, slope = np.empty((0, 0, 0), weights.dtype), np.empty((0, 0), weights.dtype)
    kernels.layer(
        active, rows, index, current, weights, beta, threshold, reset, plain, potential, bits, 0, blocks * here
    )
    if not plain:
        kernels.recurrent_layer(active, recurrent, beta, threshold, reset, potential, bits, 0, here)
    trace = np.empty((here, blocks * WIDTH), weights.dtype)
    kernels.traces(active, bits, readout_beta, trace, slope, 0, blocks * here)
    kernels.times(trace, readout, output[first:last], 0, here)


@njit(cache=True, nogil=True, error_model="numpy")
def _checked_answer(
    indptr: Int32,
    index: Int32,
    weights: Floats,
    recurrent: Floats,
    beta: Floats,
    threshold: float,
    reset: int,
    readout: Floats,
    readout_beta: float,
    recordings: int,
    output: Floats,
    channels: int,
) -> bool:
    """All of them, if the events are sound: one call from Python instead of two."""
    if not _sound(indptr, index, channels, recordings):
        return False
    layer = (weights, recurrent, beta, threshold, reset, readout, readout_beta)
    _answer(indptr, index, *layer, recordings, output, 0, recordings)
    return True
