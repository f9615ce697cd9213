"""What the engine refuses before any kernel runs: kernels trust their arguments, and a wrong index would crash."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from snn_fusion.encoding.spikes import Int32, Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.neurons import LIF, RESETS

# Precisions that the kernels take, as whole numbers of the same size, with the bits of infinity.
FLOATS: dict[torch.dtype, tuple[Any, int]] = {
    torch.float32: (np.int32, 0x7F800000),
    torch.float64: (np.int64, 0x7FF0000000000000),
}


def check_spikes(spikes: Spikes, recordings: int) -> None:
    """Raises BadInput unless `spikes` are whole rows of `recordings` recordings, with channels that there are."""
    for name, array in (("indptr", spikes.indptr), ("index", spikes.index)):
        if not isinstance(array, np.ndarray) or array.dtype != np.int32 or array.ndim != 1:
            found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise BadInput(f"spikes.{name}", f"is {found}, not a flat int32 array", "convert it")
        if not array.flags.c_contiguous:
            raise BadInput(f"spikes.{name}", "is not contiguous", "pass numpy.ascontiguousarray of it")
    if spikes.channels < 1:
        raise BadInput("spikes.channels", f"is {spikes.channels}", "give the number of input channels")
    if recordings < 1 or spikes.rows < 1 or spikes.rows % recordings:
        problem = f"{spikes.rows} rows are not whole steps of {recordings} recordings"
        raise BadInput("spikes.indptr", problem, "each recording has the same number of steps, a row each")
    first, last = int(spikes.indptr[0]), int(spikes.indptr[-1])
    if first != 0 or last != len(spikes.index):
        problem = f"goes from {first} to {last}, but there are {len(spikes.index)} spikes"
        raise BadInput("spikes.indptr", problem, "it starts with 0 and ends with the number of spikes")
    if sound(spikes.indptr, spikes.index, spikes.channels):
        return
    kind, where = _fault(spikes.indptr, spikes.index, spikes.channels)
    if kind == 1:
        raise BadInput(f"spikes.indptr[{where + 1}]", f"is below the one before, {spikes.indptr[where]}", "sort rows")
    if kind == 2:
        problem = f"channel {spikes.index[where]} is not among 0 ... {spikes.channels - 1}"
        raise BadInput(f"spikes.index[{where}]", problem, "use the encoder of this network")
    if kind == 3:
        problem = f"channel {spikes.index[where]} comes after {spikes.index[where - 1]} in the same step"
        raise BadInput(f"spikes.index[{where}]", problem, "sort each row; a channel spikes once a step at most")


def check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Raises BadInput unless `tensor` has this shape, the dtype and device of `like`, and finite values."""
    if not isinstance(tensor, Tensor):
        raise BadInput(name, f"is a {type(tensor).__name__}, not a tensor", "wrap it in torch.as_tensor")
    if tuple(tensor.shape) != shape:
        raise BadInput(name, f"has shape {tuple(tensor.shape)}, not {shape}", "see the sizes of layer and source")
    if tensor.device != like.device:
        raise BadInput(name, f"is on {tensor.device}, the weights are on {like.device}", "move the whole network")
    if tensor.dtype != like.dtype:
        raise BadInput(name, f"is {tensor.dtype}, the weights are {like.dtype}", "use one precision")
    if not _finite(tensor):
        raise BadInput(name, "holds NaN or infinity", "a diverged training is mended by a lower learning rate")


def check_layer(
    like: Tensor,
    neuron: LIF,
    recurrent: Tensor | None,
    readout: Tensor | None = None,
    readout_beta: Tensor | None = None,
) -> None:
    """Raises BadInput unless neuron, recurrent weights and readout belong to weights `like` (channels, N)."""
    if not isinstance(like, Tensor) or like.ndim != 2 or not like.is_floating_point():
        raise BadInput("weights", f"are not a floating-point matrix: {like!r:.80}", "give (channels, neurons)")
    if 0 in like.shape:
        raise BadInput("weights", f"have shape {tuple(like.shape)}", "a layer has channels and neurons")
    n = like.shape[1]
    if recurrent is not None:
        check_tensor("recurrent weights", recurrent, (n, n), like)
    if not isinstance(neuron.beta, Tensor):
        raise BadInput("beta", f"is a {type(neuron.beta).__name__}, not a tensor", "wrap it in torch.as_tensor")
    check_tensor("beta", neuron.beta, () if neuron.beta.ndim == 0 else (n,), like)
    if not neuron.threshold > 0:
        raise BadInput("threshold", f"is {neuron.threshold}", "it must be above 0: a silent neuron must stay silent")
    if neuron.reset not in RESETS:
        raise BadInput("reset", f"is {neuron.reset!r}", f"there are: {', '.join(RESETS)}")
    if readout is not None and readout_beta is not None:
        if not isinstance(readout, Tensor) or readout.ndim != 2 or readout.shape[1] < 1:
            raise BadInput("readout", f"is not a matrix: {readout!r:.80}", "give (neurons, outputs)")
        check_tensor("readout", readout, (n, readout.shape[1]), like)
        check_tensor("readout beta", readout_beta, (), like)


def takes(tensor: Tensor) -> bool:
    """Whether the compiled kernels work on tensors of this device and precision."""
    return tensor.device.type == "cpu" and tensor.dtype in FLOATS


def _finite(tensor: Tensor) -> bool:
    if tensor.ndim == 0:
        return math.isfinite(tensor.item())
    values = tensor.detach()
    if not takes(values) or not values.is_contiguous():
        return bool(torch.isfinite(values).all())
    whole, infinity = FLOATS[values.dtype]
    bits = values.numpy().reshape(-1).view(whole)
    return bool(_largest_magnitude(bits, np.iinfo(whole).max) < infinity)


@njit(cache=True, nogil=True, error_model="numpy")
def sound(indptr: Int32, index: Int32, channels: int) -> bool:
    """Whether `_fault` would find nothing: without a branch a spike, so that the compiler makes vectors of it.

    In rows that ascend, channels descend as often as between the end of a row and the next one that has spikes.
    """
    for row in range(len(indptr) - 1):
        if indptr[row + 1] < indptr[row]:
            return False
    largest, descents, between = np.uint32(0), np.int32(0), 0  # a negative channel is a very large one
    for channel in index.view(np.uint32):
        largest = max(largest, channel)
    for k in range(len(index) - 1):
        descents = np.int32(descents + np.int32(index[k + 1] <= index[k]))
    for row in range(len(indptr) - 1):
        k = indptr[row]
        if 0 < k < indptr[row + 1]:
            between += index[k] <= index[k - 1]
    return bool(descents == between and (len(index) == 0 or largest < channels))


@njit(cache=True, nogil=True, error_model="numpy")
def _fault(indptr: Int32, index: Int32, channels: int) -> tuple[int, int]:
    """(kind, where) of the first thing wrong: 1 `indptr` decreases, 2 a channel is not there, 3 channels do not ascend.

    0: nothing. `indptr` begins with 0 and ends with the length of `index`, which is for the caller to see to.
    """
    for row in range(len(indptr) - 1):
        if indptr[row + 1] < indptr[row]:
            return 1, row
    for row in range(len(indptr) - 1):
        before = -1
        for k in range(indptr[row], indptr[row + 1]):
            if index[k] < 0 or index[k] >= channels:
                return 2, k
            if index[k] <= before:
                return 3, k
            before = index[k]
    return 0, 0


@njit(cache=True, nogil=True, error_model="numpy")
def _largest_magnitude(bits: npt.NDArray[np.signedinteger[Any]], mask: int) -> Any:
    """The largest of floats seen as whole numbers (n,), without their sign: magnitudes, infinities, NaN ascend."""
    largest = bits.dtype.type(0)
    for value in bits:
        largest = max(largest, value & mask)
    return largest
