"""A NIR graph flat, and its linear nodes multiplied out: the ways from each population or input to what hears it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.linear import LINEAR, as_matrix
from snn_fusion.targets.memory import check_synapses
from snn_fusion.targets.nir_nodes import NEURON_FIELDS, check_node, check_shape

NEURONS = (nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI, nir.IF, nir.I, nir.Threshold)
SUPPORTED = (*NEURONS, *LINEAR, nir.Delay, nir.Input, nir.Output, nir.NIRGraph)
Shape = tuple[int, ...]


class Passage:
    """An inner input or output: what comes in goes out."""


@dataclass(frozen=True)
class Path:
    """A way from a population or input along linear nodes: its matrix (source, here), delay, and bias from the way."""

    source: str
    matrix: Any
    delay: int
    bias: npt.NDArray[np.float64]
    shape: Shape


class Reader:
    """Follows the edges of a flat graph backwards, once a node."""

    def __init__(self, where: str, graph: nir.NIRGraph, dt: float) -> None:
        self.where, self.dt = where, dt
        self.nodes, self.edges = _flatten(where, graph)
        for name, node in self.nodes.items():
            if not isinstance(node, Passage):
                check_node(f"{where}: {name}", node)
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            for end in (a, b):
                if end not in self.nodes:
                    raise BadInput(
                        f"{where}: edge {a} -> {b}", f"there is no node {end}", "remove the edge, or add the node"
                    )
            if a in self.before[b]:
                found = "is listed twice, and would count twice"
                raise BadInput(f"{where}: edge {a} -> {b}", found, "list it once, or double the weights")
            self.before[b].append(a)
        self.known: dict[str, list[Path]] = {}
        self.busy: list[str] = []
        self.shapes: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """Of what a population or an input sends. Parameters given once are those of as many neurons as input."""
        if name not in self.shapes:
            node = self.nodes[name]
            if isinstance(node, nir.Input):
                self.shapes[name] = check_shape(f"{self.where}: {name}", node.input_type["input"])
            else:
                own = np.broadcast_shapes(*(np.shape(getattr(node, f)) for f in NEURON_FIELDS if _has(node, f)))
                self.shapes[name] = own  # while what arrives is looked for, which may come from here
                if int(np.prod(own)) == 1:
                    self.shapes[name] = self._arriving(name) or (1,)
            check_shape(f"{self.where}: {name}", self.shapes[name] or (1,))
        return self.shapes[name]

    def _arriving(self, name: str) -> Shape | None:
        for before in self.before[name]:
            node = self.nodes[before]
            if isinstance(node, nir.Linear | nir.Affine):
                return (int(np.shape(node.weight)[0]),)
            if before not in self.shapes and before not in self.busy:
                for path in self.sent(before):
                    return path.shape
        return None

    def paths(self, name: str) -> list[Path]:
        """All that arrives at the input of a node."""
        return [path for source in self.before[name] for path in self.sent(source)]

    def sent(self, name: str) -> list[Path]:
        """What a node sends, as paths from populations and inputs."""
        node = self.nodes[name]
        if isinstance(node, (*NEURONS, nir.Input)):
            shape = self.shape(name)
            size = int(np.prod(shape))
            return [Path(name, csr_array(eye_array(size)), 0, np.zeros(size), shape)]
        if name in self.busy:
            cycle = " -> ".join([*self.busy[self.busy.index(name) :], name])
            raise BadInput(f"{self.where}: {cycle}", "a cycle without a neuron has no value", "put a neuron into it")
        if name not in self.known:
            self.busy.append(name)
            # What arrives adds up before the node, so its bias counts once, whatever the number of paths.
            paths = self.paths(name)
            self.known[name] = [made for i, one in enumerate(paths) for made in self._through(name, node, one, i == 0)]
            self.busy.pop()
        return self.known[name]

    def _through(self, name: str, node: Any, path: Path, first: bool) -> list[Path]:
        where = f"{self.where}: {path.source} -> {name}"
        if isinstance(node, Passage):
            return [path]
        if isinstance(node, nir.Delay):
            return _delayed(where, node, path, self.dt)
        matrix, bias, shape = as_matrix(where, node, path.shape)
        check_shape(where, shape)
        check_synapses(where, _most(path.matrix, matrix), f"{matrix.shape[0]:,} by {matrix.shape[1]:,}")
        carried = path.bias @ matrix + (bias if bias is not None and first else 0)
        return [Path(path.source, csr_array(path.matrix @ matrix), path.delay, carried, shape)]


def _delayed(where: str, node: nir.Delay, path: Path, dt: float) -> list[Path]:
    """The path with its delay; parted by delay, where that differs between channels."""
    given, size = np.ravel(node.delay) / dt, int(np.prod(path.shape))
    if given.size not in (1, size):
        raise BadInput(where, f"shape mismatch: {list(path.shape)} comes in, {list(node.delay.shape)} is expected")
    steps = np.rint(given)
    if (np.abs(given - steps) > 1e-4).any() or (steps < 0).any():
        off = given[(np.abs(given - steps) > 1e-4) | (steps < 0)][0]
        raise BadInput(where, f"a delay of {off:g} steps of {dt:g} s", "give whole numbers of steps")
    if (path.bias[np.broadcast_to(steps, size) >= 1] != 0).any():
        raise BadInput(where, "a delayed bias is not a constant", "put the bias behind the delay")
    found = []
    for delay in np.unique(steps).tolist():
        of_it = np.broadcast_to(steps == delay, size)
        matrix = csr_array(path.matrix @ diags_array(of_it.astype(np.float64)))
        matrix.eliminate_zeros()
        found.append(Path(path.source, matrix, path.delay + int(delay), path.bias * of_it, path.shape))
    return found


def _flatten(where: str, graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with subgraphs taken apart; inner inputs and outputs become plain passages."""
    nodes: dict[str, Any] = {}
    edges = [(prefix + a, prefix + b) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        full = prefix + name
        if not isinstance(node, SUPPORTED):
            kinds = ", ".join(sorted(kind.__name__ for kind in SUPPORTED if kind is not nir.NIRGraph))
            raise BadInput(
                f"{where}: {full}", f"{type(node).__name__} is not supported", f"supported: {kinds}, subgraphs"
            )
        if not isinstance(node, nir.NIRGraph):
            nodes[full] = node
            continue
        inner, inner_edges = _flatten(where, node, f"{full}/")
        entries = [n for n, one in inner.items() if isinstance(one, nir.Input) and "/" not in n[len(full) + 1 :]]
        exits = [n for n, one in inner.items() if isinstance(one, nir.Output) and "/" not in n[len(full) + 1 :]]
        if len(entries) != 1 or len(exits) != 1:
            raise BadInput(
                f"{where}: {full}", f"has {len(entries)} inputs and {len(exits)} outputs", "give one of each"
            )
        inner |= {entries[0]: Passage(), exits[0]: Passage()}
        nodes |= inner
        edges = [(exits[0] if a == full else a, entries[0] if b == full else b) for a, b in edges] + inner_edges
    return nodes, edges


def _has(node: Any, field: str) -> bool:
    return getattr(node, field, None) is not None


def _most(one: Any, other: Any) -> int:
    """Values that the product of two sparse matrices can have at most."""
    rows = np.diff(csr_array(other).indptr)
    each = int(rows[csr_array(one).indices].sum(dtype=np.int64))
    return int(min(each, one.shape[0] * other.shape[1]))
