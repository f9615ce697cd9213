"""A `.nir` file from anywhere, read with distrust: HDF5 can point to other files and declare what no memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from snn_fusion.errors import BadInput
from snn_fusion.targets.memory import check_synapses
from snn_fusion.targets.nir_nodes import check_field, check_node
from snn_fusion.targets.nir_paths import SUPPORTED

NODES = "/node/nodes/"  # where nir keeps them
FEW = 8  # sizes that a node declares
MOST_BYTES = 2 << 30  # of all parameters together


def read_nir(path: Path) -> nir.NIRGraph:
    """The graph in a file. Raises BadInput naming file, place and what is wrong, before anything large is read."""
    if not path.is_file():
        raise BadInput(path, "there is no such file", "name a .nir file, or the folder that `train` wrote")
    try:
        with h5py.File(path, "r") as file:
            _survey(path, file)
        graph = nir.read(path, type_check=False)  # which knows no parameters given once; shapes are compared here
        graph.validate_structure()
    except BadInput:
        raise
    except Exception as error:  # whatever h5py and nir raise for a broken file, asserts among them
        raise BadInput(path, f"not a readable NIR file: {type(error).__name__}: {error}", "export it again") from error
    _nodes(path, graph, "")
    return graph


def _survey(path: Path, file: h5py.File) -> None:
    """Links lead nowhere else, and what is declared fits into memory."""
    total, values, todo, seen = 0, 0, [("", file)], {h5py.h5o.get_info(file["/"].id).addr}
    while todo:
        name, group = todo.pop()
        for key in group:
            here = f"{name}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise BadInput(f"{path}: {here}", "is a link to somewhere else", "a graph holds its own parameters")
            item = group[key]
            if isinstance(item, h5py.Group):
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:
                    raise BadInput(
                        f"{path}: {here}",
                        "is a second name of a group that was read already (a hard link)",
                        "export the graph again",
                    )
                seen.add(place)
                todo.append((here, item))
                continue
            if key == "type" and item.shape == ():
                _known(f"{path}: {name}", item[()])
            if item.size and item.size <= FEW:  # before nir divides by a stride of 0
                check_field(f"{path}: {name.removeprefix(NODES)}", key, item[()])
            size = int(item.size or 0) * item.dtype.itemsize
            total, values = total + size, values + int(item.size or 0)
            if item.external or item.is_virtual:
                raise BadInput(
                    f"{path}: {here}", "keeps its values in another file", "a graph holds its own parameters"
                )
            if total > MOST_BYTES:
                found = f"declares shape {list(item.shape)}, {total >> 20:,} MB in all"
                raise BadInput(f"{path}: {here}", found, f"at most {MOST_BYTES >> 20:,} MB are read")
            # What a fill value or compression keeps small on disk is large here, and larger once it is lowered.
            check_synapses(f"{path}: {here}", values, f"shape {list(item.shape)}, {values:,} parameters so far")


def _known(where: str, kind: Any) -> None:
    """Raises BadInput listing the supported kinds; nir itself knows more, and knows others not at all."""
    said = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    supported = sorted(one.__name__ for one in SUPPORTED)
    if said not in supported:
        listed = ", ".join(one for one in supported if one != "NIRGraph")
        raise BadInput(where, f"{said} is not supported", f"supported: {listed}, subgraphs")


def _nodes(path: Path, graph: Any, prefix: str) -> None:
    """Each node means something by itself, and all of its numbers are finite."""
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            _nodes(path, node, f"{prefix}{name}/")
            continue
        check_node(f"{path}: {prefix}{name}", node)
        for field, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "c":
                raise BadInput(f"{path}: {prefix}{name}.{field}", f"holds {value.dtype}", "real numbers are supported")
            if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f" and not np.isfinite(value).all():
                bad = int((~np.isfinite(value)).sum())
                raise BadInput(
                    f"{path}: {prefix}{name}.{field}",
                    f"{bad} values are NaN or infinite",
                    "train again, and export finite ones",
                )
