"""Each node of a NIR graph by itself: shapes and numbers that mean something, before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import nir
import numpy as np

from snn_fusion.errors import BadInput

MOST_CHANNELS = 10_000_000  # of an input or a layer
EXPORT = "export the graph again with its real shapes"
NEURON_FIELDS = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in", "threshold")
LEAST = {"stride": 1, "dilation": 1, "groups": 1, "kernel_size": 1, "padding": 0}
RANK = {nir.Linear: 2, nir.Affine: 2, nir.Conv1d: 3, nir.Conv2d: 4}


def check_node(where: str, node: Any) -> None:
    """Raises BadInput naming field and value of what no node can have: `where` is the file and the node's name."""
    for name, value in vars(node).items():
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc" and name != "padding":
            raise BadInput(f"{where}.{name}", f"holds {value.dtype}", "numbers are needed")
    if isinstance(node, nir.Input | nir.Output):
        declared = node.input_type["input"]
        check_shape(f"{where}.shape", declared)
    elif isinstance(node, nir.Flatten):
        if node.input_type["input"] is not None:
            check_shape(f"{where}.input_type", node.input_type["input"])
            check_flatten(where, node, len(np.ravel(node.input_type["input"])))
    elif type(node) in RANK:
        _weights(where, node)
    elif isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        for field, least in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            _whole(where, field, getattr(node, field), least, 2)
    elif fields := [name for name in NEURON_FIELDS if getattr(node, name, None) is not None]:
        _neurons(where, node, fields)


def check_shape(where: str, declared: Any) -> tuple[int, ...]:
    """A declared shape as positive whole numbers. Raises BadInput for anything else, and for more than is read."""
    values = np.ravel(np.asarray(declared))
    if values.size == 0 or values.dtype.kind not in "iuf" or not (values == np.floor(values)).all():
        raise BadInput(where, f"declares shape {_shown(declared)}", EXPORT)
    shape = tuple(int(n) for n in values)
    if min(shape) < 1:
        raise BadInput(where, f"declares shape {list(shape)}: each size has to be at least 1", EXPORT)
    if math.prod(shape) > MOST_CHANNELS:
        raise BadInput(where, f"declares shape {list(shape)}", f"at most {MOST_CHANNELS:,} channels are read")
    return shape


def _weights(where: str, node: Any) -> None:
    shape = np.shape(node.weight)
    if len(shape) != RANK[type(node)]:
        wanted = f"{type(node).__name__} has weights of {RANK[type(node)]} dimensions"
        raise BadInput(f"{where}.weight", f"has shape {list(shape)}", wanted)
    if 0 in shape:
        raise BadInput(f"{where}.weight", f"is empty: shape {list(shape)}", EXPORT)
    bias = getattr(node, "bias", None)
    if bias is not None and np.shape(bias) not in ((shape[0],), (1,), ()):
        raise BadInput(f"{where}.bias", f"has shape {list(np.shape(bias))}", f"one for each of {shape[0]} outputs")
    if not isinstance(node, nir.Conv1d | nir.Conv2d):
        return
    sizes = len(shape) - 2
    for field, least in (("stride", 1), ("dilation", 1), ("padding", 0)):
        value = getattr(node, field)
        if not (field == "padding" and isinstance(value, str)):
            _whole(where, field, value, least, sizes)
    _whole(where, "groups", node.groups, 1, 1)
    if shape[0] % int(np.ravel(node.groups)[0]):
        found = f"{int(np.ravel(node.groups)[0])} groups do not divide {shape[0]} outputs"
        raise BadInput(f"{where}.groups", found, EXPORT)
    if node.input_shape is not None:
        check_shape(f"{where}.input_shape", node.input_shape)


def check_field(where: str, name: str, value: Any) -> None:
    """A field of whole numbers before nir computes sizes with it: `where` is the file and the node."""
    if name in LEAST and not isinstance(value, str | bytes):
        _whole(where, name, value, LEAST[name], 2)
    elif name in ("shape", "input_shape"):
        check_shape(f"{where}.{name}", value)


def check_flatten(where: str, node: Any, rank: int) -> None:
    """Raises BadInput if start_dim and end_dim are not dimensions of a shape of `rank`, alone or with its batch."""
    given = [np.ravel(np.asarray(one)) for one in (node.start_dim, node.end_dim)]
    if all(one.size == 1 and one.dtype.kind in "iu" for one in given):
        start, end = (int(one[0]) for one in given)
        for dims in (rank, rank + 1):
            if -dims <= min(start, end) and max(start, end) < dims and start % dims <= end % dims:
                return
    found = f"start_dim {_shown(node.start_dim)} and end_dim {_shown(node.end_dim)} of {rank} dimensions"
    raise BadInput(where, found, "give the first and the last of the dimensions to flatten, or 0 and -1 for all")


def _whole(where: str, field: str, value: Any, least: int, sizes: int) -> None:
    values = np.ravel(np.asarray(value))
    whole = values.dtype.kind in "iuf" and values.size in (1, sizes) and (values == np.floor(values)).all()
    if not whole or values.min() < least or values.max() > MOST_CHANNELS:
        limit = f"whole numbers from {least} to {MOST_CHANNELS:,}, {sizes} of them or one"
        raise BadInput(f"{where}.{field}", f"is {_shown(value)}", f"give {limit}")


def _neurons(where: str, node: Any, fields: Sequence[str]) -> None:
    shapes = {name: np.shape(getattr(node, name)) for name in fields}
    try:
        size = math.prod(np.broadcast_shapes(*shapes.values()))
    except ValueError:
        size = -1
    if size == 0 or any(math.prod(shape) not in (1, size) for shape in shapes.values()):
        found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise BadInput(where, f"parameters of unlike shapes: {found}", "one of each for every neuron, or one for all")


def _shown(value: Any) -> str:
    text = str(np.asarray(value).tolist())
    return text if len(text) < 80 else text[:77] + "..."
