"""NIR's linear nodes as sparse matrices (inputs, outputs): y = x @ matrix + bias, x flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.memory import check_synapses
from snn_fusion.targets.nir_nodes import MOST_CHANNELS, check_flatten

Shape = tuple[int, ...]
Matrix = csr_array[Any, Any]
Bias = npt.NDArray[np.float64]
LINEAR = (
    nir.Affine,
    nir.Linear,
    nir.Scale,
    nir.Conv1d,
    nir.Conv2d,
    nir.SumPool2d,
    nir.AvgPool2d,
    nir.Flatten,
)


def as_matrix(where: str, node: Any, shape: Shape) -> tuple[Matrix, Bias | None, Shape]:
    """Matrix, bias and output shape of a linear node whose input has `shape`. Raises BadInput naming both shapes.

    A leading dimension of 1, the batch that exporters write, is left out where a node's rank shows that it is one.
    """
    if isinstance(node, nir.Linear | nir.Affine):
        weight = np.asarray(node.weight, np.float64)
        if weight.ndim != 2:
            raise BadInput(where, f"its weight has shape {weight.shape}", "a matrix (outputs, inputs) is supported")
        _fit(where, shape, (weight.shape[1],))
        bias = np.asarray(node.bias, np.float64) if isinstance(node, nir.Affine) else None
        return csr_array(weight.T), bias, (weight.shape[0],)
    if isinstance(node, nir.Scale):
        _fit(where, shape, node.scale.shape)
        return csr_array(diags_array(np.ravel(node.scale).astype(np.float64))), None, shape
    if isinstance(node, nir.Flatten):
        declared = node.input_type["input"]
        if declared is not None:
            _fit(where, shape, tuple(int(n) for n in declared))
        check_flatten(where, node, len(shape) if declared is None else len(declared))
        return csr_array(eye_array(int(np.prod(shape)))), None, (int(np.prod(shape)),)
    if isinstance(node, nir.Conv1d):
        return _conv1d(where, node, shape)
    if isinstance(node, nir.Conv2d):
        return _conv2d(where, node, shape)
    return _pool(where, node, shape)


def unbatched(shape: Sequence[int], rank: int) -> Shape:
    """`shape` without a leading batch dimension of 1, if it then has `rank` dimensions."""
    return tuple(shape[1:]) if len(shape) == rank + 1 and shape[0] == 1 else tuple(shape)


def _fit(where: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    found, wanted = unbatched(found, len(wanted)), unbatched(wanted, len(found))
    if found != wanted and not (len(wanted) == 1 and int(np.prod(found)) == wanted[0]):
        raise BadInput(
            where,
            f"shape mismatch: {list(found)} comes in, {list(wanted)} is expected",
            "make the sizes of the two agree",
        )


def _pair(value: Any) -> tuple[int, int]:
    numbers = np.ravel(value)
    return (int(numbers[0]), int(numbers[-1]))


def _conv2d(where: str, node: Any, shape: Shape) -> tuple[Matrix, Bias | None, Shape]:
    weight = np.asarray(node.weight, np.float64)
    channels, shape = weight.shape[1] * int(node.groups), unbatched(shape, 3)
    if node.input_shape is not None:
        _fit(where, shape, (channels, *_pair(node.input_shape)))
    if len(shape) != 3 or shape[0] != channels:
        raise BadInput(where, f"shape mismatch: {list(shape)} comes in, [{channels}, height, width] is expected")
    stride, dilation, kernel = _pair(node.stride), _pair(node.dilation), weight.shape[2:]
    before, after = _padding(where, node.padding, kernel, stride, dilation)
    geometry = Geometry(shape[1:], kernel, stride, before, after, dilation)
    matrix, out = _convolution(where, weight, int(node.groups), geometry)
    return matrix, _everywhere(node.bias, weight.shape[0], out), (weight.shape[0], *out)


def _conv1d(where: str, node: Any, shape: Shape) -> tuple[Matrix, Bias | None, Shape]:
    weight = np.asarray(node.weight, np.float64)
    channels, shape = weight.shape[1] * int(node.groups), unbatched(shape, 2)
    if node.input_shape is not None:
        _fit(where, shape, (channels, int(np.ravel(node.input_shape)[0])))
    if len(shape) != 2 or shape[0] != channels:
        raise BadInput(where, f"shape mismatch: {list(shape)} comes in, [{channels}, length] is expected")
    stride, dilation, kernel = int(np.ravel(node.stride)[0]), int(np.ravel(node.dilation)[0]), weight.shape[2]
    padding = node.padding if isinstance(node.padding, str) else (0, int(np.ravel(node.padding)[0]))
    before, after = _padding(where, padding, (1, kernel), (1, stride), (1, dilation))
    geometry = Geometry((1, shape[1]), (1, kernel), (1, stride), before, after, (1, dilation))
    matrix, out = _convolution(where, weight[:, :, None, :], int(node.groups), geometry)
    return matrix, _everywhere(node.bias, weight.shape[0], out), (weight.shape[0], out[1])


def _pool(where: str, node: Any, shape: Shape) -> tuple[Matrix, Bias | None, Shape]:
    shape = unbatched(shape, 3)
    if len(shape) != 3:
        raise BadInput(where, f"shape mismatch: {list(shape)} comes in, [channels, height, width] is expected")
    kernel, stride, padding = (_pair(one) for one in (node.kernel_size, node.stride, node.padding))
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        found = f"a padding of {list(padding)} is more than half of the kernel {list(kernel)}"
        raise BadInput(where, found, "some outputs would be of no input: give a smaller padding")
    each = 1.0 / (kernel[0] * kernel[1]) if isinstance(node, nir.AvgPool2d) else 1.0
    weight = np.broadcast_to(each, (shape[0], 1, *kernel))  # of any size, without taking memory
    matrix, out = _convolution(where, weight, shape[0], Geometry(shape[1:], kernel, stride, padding, padding, (1, 1)))
    return matrix, None, (shape[0], *out)


def _everywhere(bias: Any, outputs: int, size: Sequence[int]) -> Bias | None:
    """One bias an output channel, or one for all, at every place."""
    each = None if bias is None else np.broadcast_to(np.asarray(bias, np.float64), (outputs,))
    return None if each is None else np.repeat(each, size[0] * size[1])


class Geometry:
    """Where each output of a convolution looks, (height, width) each; padding before and after."""

    def __init__(
        self,
        size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        before: Sequence[int],
        after: Sequence[int],
        dilation: Sequence[int],
    ) -> None:
        self.size, self.kernel = tuple(size), tuple(kernel)
        self.reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        padded = [n + a + b for n, a, b in zip(size, before, after, strict=True)]
        self.out = tuple((n - r) // s + 1 for n, r, s in zip(padded, self.reach, stride, strict=True))
        self.stride, self.before, self.dilation = tuple(stride), tuple(before), tuple(dilation)

    def taps(self, axis: int) -> range:
        """Kernel positions that may meet an input along an axis; the others lie in the padding only."""
        last = (self.out[axis] - 1) * self.stride[axis]
        first = max(0, -((last - self.before[axis]) // self.dilation[axis]))
        end = (self.size[axis] - 1 + self.before[axis]) // self.dilation[axis] + 1
        return range(first, max(first, min(self.kernel[axis], end)))

    def pairs(self, axis: int, tap: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Input and output coordinates that kernel position `tap` joins along an axis."""
        out = np.arange(self.out[axis])
        place = out * self.stride[axis] - self.before[axis] + tap * self.dilation[axis]
        inside = (place >= 0) & (place < self.size[axis])
        return place[inside], out[inside]


def _padding(
    where: str, padding: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        if tuple(stride) != (1, 1):
            raise BadInput(where, f"padding 'same' with stride {list(stride)} is ambiguous", "give numbers")
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return (total[0] // 2, total[1] // 2), (total[0] - total[0] // 2, total[1] - total[1] // 2)
    return _pair(padding), _pair(padding)


def _convolution(
    where: str, weight: npt.NDArray[np.float64], groups: int, geometry: Geometry
) -> tuple[Matrix, tuple[int, int]]:
    """`weight` (outputs, inputs / groups, height, width) as (inputs * H * W, outputs * H' * W')."""
    (h, w), (oh, ow) = geometry.size, geometry.out
    if oh < 1 or ow < 1:
        found = f"a kernel of {list(geometry.kernel)} does not fit into {list(geometry.size)}"
        raise BadInput(where, found, "give a smaller kernel, or padding")
    far = [p > max(n, r) for p, n, r in zip(geometry.before, geometry.size, geometry.reach, strict=True)]
    if any(far):
        found = f"a padding of {list(geometry.before)} around {list(geometry.size)}"
        raise BadInput(where, found, "give one that is no larger than what it is put around, or than the kernel")
    outs, per_group = weight.shape[:2]
    outs_per_group = outs // groups
    if outs * oh * ow > MOST_CHANNELS:  # before anything of that size is made
        found = f"its output would have shape {[outs, oh, ow]}"
        raise BadInput(where, found, f"at most {MOST_CHANNELS:,} channels are read")
    taps = math.prod(sum(len(geometry.pairs(axis, k)[0]) for k in geometry.taps(axis)) for axis in (0, 1))
    most = max(outs * per_group * taps, outs * oh * ow)
    check_synapses(where, most, f"a kernel of {list(weight.shape)} on {list(geometry.size)}")
    rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for i in geometry.taps(0):
        y, out_y = geometry.pairs(0, i)
        for j in geometry.taps(1):
            x, out_x = geometry.pairs(1, j)
            source = (y[:, None] * w + x).ravel()
            target = (out_y[:, None] * ow + out_x).ravel()
            o, c = np.meshgrid(np.arange(outs), np.arange(per_group), indexing="ij")
            channel = (o // outs_per_group * per_group + c).ravel()
            rows.append((channel[:, None] * (h * w) + source).ravel())
            columns.append((o.ravel()[:, None] * (oh * ow) + target).ravel())
            values.append(np.repeat(weight[:, :, i, j].ravel(), len(source)))
    shape = (per_group * groups * h * w, outs * oh * ow)
    data = np.concatenate(values)
    matrix = csr_array((data, (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    matrix.sum_duplicates()
    return matrix, (oh, ow)
