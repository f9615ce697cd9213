"""A NIR graph as populations and connections: neurons by forward Euler, the linear nodes between them multiplied out.

    LIF      tau dU/dt = (v_leak - U) + r I           decay = 1 - dt / tau, gain = r dt / tau
    CubaLIF  tau_syn dI/dt = -I + w_in S, and LIF     current_decay = 1 - dt / tau_syn, gain also w_in dt / tau_syn
    IF       dU/dt = r I                              decay = 1, gain = r dt
    Threshold  spikes where its input is above        decay = 0, gain = 1
    LI, CubaLI, I                                     as LIF, CubaLIF, IF, without a threshold

Gains go into the weights. Potentials are counted from v_reset, so that a reset is to 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.linear import LINEAR, as_matrix
from snn_fusion.targets.populations import Connection, Population, Program, Reset
from snn_fusion.training.loop import DECAY_GRID

NEURONS = (nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI, nir.IF, nir.I, nir.Threshold)
SUPPORTED = (*NEURONS, *LINEAR, nir.Delay, nir.Input, nir.Output, nir.NIRGraph)
Shape = tuple[int, ...]
MOST_CHANNELS = 10_000_000  # of an input or a layer
SINGLE = 2e-7  # what arithmetic in 32 bits may leave beside a number of about 1


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
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            for end in (a, b):
                if end not in self.nodes:
                    raise BadInput(f"{where}: edge {a} -> {b}", f"there is no node {end}", "mend the graph")
            self.before[b].append(a)
        self.known: dict[str, list[Path]] = {}
        self.busy: list[str] = []
        self.shapes: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """Of what a population or an input sends. Parameters given once are those of as many neurons as input."""
        if name not in self.shapes:
            node = self.nodes[name]
            if isinstance(node, nir.Input):
                self.shapes[name] = tuple(int(n) for n in node.input_type["input"])
            else:
                own = np.broadcast_shapes(*(np.shape(getattr(node, field)) for field in _fields(node)))
                self.shapes[name] = own  # while what arrives is looked for, which may come from here
                if int(np.prod(own)) == 1:
                    self.shapes[name] = self._arriving(name) or (1,)
            if math.prod(self.shapes[name]) > MOST_CHANNELS:
                found = f"declares shape {list(self.shapes[name])}"
                raise BadInput(f"{self.where}: {name}", found, f"at most {MOST_CHANNELS:,} channels are read")
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


def semantics(sidecar: Mapping[str, Any]) -> tuple[float, Reset, int]:
    """Seconds a step, reset and its delay, which NIR does not say, of a graph's graph.json."""
    return sidecar["dt_ms"] / 1000, sidecar["reset"]["mechanism"], sidecar["reset"]["delay_steps"]


def program(where: str, graph: nir.NIRGraph, dt: float, reset: Reset, reset_delay: int) -> Program:
    """Populations and connections of a graph whose step is `dt` seconds.

    Of a cycle through neurons, the connection that leads back takes effect one step later. Raises BadInput for what
    is not supported, naming node, shapes and the supported kinds.
    """
    reader = Reader(where, graph, dt)
    inputs = {n: int(np.prod(reader.shape(n))) for n, node in reader.nodes.items() if isinstance(node, nir.Input)}
    outputs = [name for name, node in reader.nodes.items() if isinstance(node, nir.Output)]
    if len(outputs) != 1 or not inputs:
        raise BadInput(
            where, f"has {len(inputs)} inputs and {len(outputs)} outputs", "one output and inputs are needed"
        )
    arriving = {n: reader.paths(n) for n, node in reader.nodes.items() if isinstance(node, NEURONS)}
    for name, node in reader.nodes.items():
        if not isinstance(node, nir.Output):
            reader.sent(name)  # a way that leads nowhere has to mean something too
    order, back = _order(arriving)
    populations = [_population(reader, name, arriving[name], back) for name in order]
    answer = _output(reader, outputs[0], populations)
    return Program(inputs, tuple(populations), answer, dt, reset, reset_delay)


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


def _order(arriving: dict[str, list[Path]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Populations so that each comes after those that lead to it within a step, and the connections that lead back."""
    order: list[str] = []
    left = list(arriving)
    while left:
        waits = {
            name: [p.source for p in arriving[name] if p.delay == 0 and p.source in left and p.source != name]
            for name in left
        }
        ready = [name for name in left if not waits[name]]
        reached = [name for name in left if any(p.source not in left for p in arriving[name])]
        chosen = (ready or reached or left)[0]
        order.append(chosen)
        left.remove(chosen)
    place = {name: i for i, name in enumerate(order)}
    back = {
        (path.source, name)
        for name, paths in arriving.items()
        for path in paths
        if path.delay == 0 and path.source in place and place[path.source] >= place[name]
    }
    return order, back


def _parameters(where: str, node: Any, dt: float, size: int) -> dict[str, npt.NDArray[np.float64]]:
    """decay, current_decay, gain, constant, threshold and origin of `size` neurons, potentials counted from v_reset."""

    def flat(value: Any) -> npt.NDArray[np.float64]:
        given = np.ravel(np.asarray(value, np.float64))
        return np.full(size, given[0]) if given.size == 1 else given

    def share(field: str) -> npt.NDArray[np.float64]:
        tau = flat(getattr(node, field))
        with np.errstate(divide="ignore"):
            part = dt / tau
        inside = (part > 0) & (part < 1 - SINGLE)  # a step of the whole time constant, but for 32 bits, leaves nothing
        if not inside.all():
            beta = 1 - part
            bad = int(np.argmin(inside))
            found = f"neuron {bad} has tau {tau[bad]:g} s, so a decay of {beta[bad]:.4g} a step of {dt:g} s"
            raise BadInput(f"{where}.{field}", found, "decays lie between 0 and 1: give the graph's own --dt")
        return part

    zero, one = np.zeros(size), np.ones(size)
    found = {"decay": one, "current_decay": zero, "gain": one, "constant": zero, "threshold": np.full(size, np.inf)}
    if isinstance(node, nir.Threshold):
        return found | {"decay": zero, "threshold": flat(node.threshold)}
    start = flat(node.v_reset) if hasattr(node, "v_reset") else zero
    found["origin"] = start
    if isinstance(node, nir.IF | nir.I):
        found["gain"] = flat(node.r) * dt
    else:
        part = share("tau" if hasattr(node, "tau") else "tau_mem")
        leak = part * (flat(node.v_leak) - start)
        found |= {"decay": _mended(1 - part, DECAY_GRID), "gain": _mended(flat(node.r) * part, 1), "constant": leak}
    if hasattr(node, "tau_syn"):
        synaptic = share("tau_syn")
        found |= {"current_decay": 1 - synaptic, "gain": found["gain"] * flat(node.w_in) * synaptic}
    if hasattr(node, "v_threshold"):
        found["threshold"] = flat(node.v_threshold) - start
    return found


def _mended(values: npt.NDArray[np.float64], grid: int) -> npt.NDArray[np.float64]:
    """Multiples of 1 / grid again, where 32 bits of time constants have left something next to them.

    Else a potential that just reaches its threshold, and does not cross it, would.
    """
    near = np.rint(values * grid) / grid
    possible = near < 1 if grid > 1 else near == 1  # a decay never becomes 1; of gains only 1 is meant
    return np.where(possible & (np.abs(values - near) < SINGLE * near), near, values)


def _fields(node: Any) -> list[str]:
    """Names of a neuron's parameters."""
    names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in", "threshold")
    return [name for name in names if getattr(node, name, None) is not None]


def _population(reader: Reader, name: str, paths: list[Path], back: set[tuple[str, str]]) -> Population:
    where, node = f"{reader.where}: {name}", reader.nodes[name]
    shape = reader.shape(name)
    size = int(np.prod(shape))
    own = _parameters(where, node, reader.dt, size)
    bias, incoming = own["constant"], []
    for path in paths:
        if path.matrix.shape[1] != size or (len(path.shape) > 1 and len(shape) > 1 and path.shape != shape):
            found = f"shape mismatch: {list(path.shape)} comes from {path.source}, {list(shape)} is expected"
            raise BadInput(where, found, "mend the graph")
        if path.bias.any() and own["current_decay"].any():
            raise BadInput(where, "a bias before a current that decays is not a constant", "put it into v_leak")
        bias = bias + own["gain"] * path.bias
        weights = csr_array(path.matrix @ diags_array(own["gain"]))
        incoming.append(
            Connection(path.source, weights, path.delay + (path.delay == 0 and (path.source, name) in back))
        )
    if not incoming:
        raise BadInput(where, "nothing leads to it", "mend the graph")
    if not (own["threshold"] > 0).all():
        lowest = own["threshold"].min()
        raise BadInput(where, f"a threshold {lowest:g} above its reset", "it must be above 0: silence must stay silent")
    spikes = not isinstance(node, nir.LI | nir.CubaLI | nir.I)
    origin = own["origin"] if own.get("origin", np.zeros(1)).any() else None
    parameters = own["decay"], own["current_decay"], bias, own["threshold"]
    return Population(name, *parameters, tuple(incoming), spikes, origin=origin)


def _output(reader: Reader, name: str, populations: list[Population]) -> str:
    """The population that is the output; a linear way to it becomes a readout without memory."""
    paths = reader.paths(name)
    names = {one.name for one in populations}
    plain = [p for p in paths if p.source in names and p.delay == 0 and not p.bias.any() and _is_identity(p.matrix)]
    if len(paths) == len(plain) == 1:
        return paths[0].source
    if not paths:
        raise BadInput(f"{reader.where}: {name}", "nothing leads to the output", "mend the graph")
    size = paths[0].matrix.shape[1]
    bias = np.sum([path.bias for path in paths], axis=0)
    incoming = tuple(Connection(path.source, path.matrix, path.delay) for path in paths)
    zero, never = np.zeros(size), np.full(size, np.inf)
    populations.append(Population(name, zero, zero, bias, never, incoming, spikes=False))
    return name


def _is_identity(matrix: Any) -> bool:
    return bool(matrix.shape[0] == matrix.shape[1] and (matrix - eye_array(matrix.shape[0])).count_nonzero() == 0)
