"""A NIR graph as populations and connections: neurons by forward Euler, the linear nodes between them multiplied out.

    LIF      tau dU/dt = (v_leak - U) + r I           decay = 1 - dt / tau, gain = r dt / tau
    CubaLIF  tau_syn dI/dt = -I + w_in S, and LIF     current_decay = 1 - dt / tau_syn, gain also w_in dt / tau_syn
    IF       dU/dt = r I                              decay = 1, gain = r dt
    Threshold  spikes where its input is above        decay = 0, gain = 1
    LI, CubaLI, I                                     as LIF, CubaLIF, IF, without a threshold

Gains go into the weights. Potentials are counted from v_reset, so that a reset is to 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array

from snn_fusion.errors import BadInput
from snn_fusion.targets.linear import unbatched
from snn_fusion.targets.nir_paths import NEURONS, Path, Reader
from snn_fusion.targets.populations import Connection, Population, Program, Reset
from snn_fusion.training.loop import DECAY_GRID

SINGLE = 2e-7  # what arithmetic in 32 bits may leave beside a number of about 1


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
    return Program(inputs, tuple(populations), answer, dt, reset, reset_delay, _notes(reader))


def _notes(reader: Reader) -> tuple[str, ...]:
    """Where the step is probably not the one that the exporter meant."""
    once = [n for n, node in reader.nodes.items() if isinstance(node, nir.IF | nir.I) and (np.ravel(node.r) == 1).all()]
    if not once or reader.dt == 1:
        return ()
    return (
        f"{', '.join(once)}: r is 1, so that {reader.dt:g} of an input is integrated in each step; where "
        f"the exporter meant a whole input a step, give --dt 1 or write r = {1 / reader.dt:g}",
    )


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
        found |= {"decay": _on_grid(1 - part, DECAY_GRID), "gain": _on_grid(flat(node.r) * part, 1), "constant": leak}
    if hasattr(node, "tau_syn"):
        synaptic = share("tau_syn")
        found |= {"current_decay": 1 - synaptic, "gain": found["gain"] * flat(node.w_in) * synaptic}
    if hasattr(node, "v_threshold"):
        found["threshold"] = flat(node.v_threshold) - start
    return found


def _on_grid(values: npt.NDArray[np.float64], grid: int) -> npt.NDArray[np.float64]:
    """Multiples of 1 / grid again, where 32 bits of time constants have left something next to them.

    Else a potential that just reaches its threshold, and does not cross it, would.
    """
    near = np.rint(values * grid) / grid
    possible = near < 1 if grid > 1 else near == 1  # a decay never becomes 1; of gains only 1 is meant
    return np.where(possible & (np.abs(values - near) < SINGLE * near), near, values)


def _population(reader: Reader, name: str, paths: list[Path], back: set[tuple[str, str]]) -> Population:
    where, node = f"{reader.where}: {name}", reader.nodes[name]
    shape = reader.shape(name)
    size = int(np.prod(shape))
    own = _parameters(where, node, reader.dt, size)
    bias, incoming = own["constant"], []
    for path in paths:
        arrives, own_shape = unbatched(path.shape, len(shape)), unbatched(shape, len(path.shape))
        if path.matrix.shape[1] != size or (len(path.shape) > 1 and len(shape) > 1 and arrives != own_shape):
            found = f"shape mismatch: {list(path.shape)} comes from {path.source}, {list(shape)} is expected"
            raise BadInput(where, found, "make the sizes of the two agree")
        if path.bias.any() and own["current_decay"].any():
            raise BadInput(
                where,
                "a bias before a current that decays is not a constant",
                "move it behind the current: into v_leak of the neuron",
            )
        bias = bias + own["gain"] * path.bias
        weights = csr_array(path.matrix @ diags_array(own["gain"]))
        incoming.append(
            Connection(path.source, weights, path.delay + (path.delay == 0 and (path.source, name) in back))
        )
    if not incoming:
        raise BadInput(where, "nothing leads to it", "add an edge to it, or leave it out")
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
        raise BadInput(f"{reader.where}: {name}", "nothing leads to the output", "add an edge to it")
    size = paths[0].matrix.shape[1]
    bias = np.sum([path.bias for path in paths], axis=0)
    incoming = tuple(Connection(path.source, path.matrix, path.delay) for path in paths)
    zero, never = np.zeros(size), np.full(size, np.inf)
    populations.append(Population(name, zero, zero, bias, never, incoming, spikes=False))
    return name


def _is_identity(matrix: Any) -> bool:
    return bool(matrix.shape[0] == matrix.shape[1] and (matrix - eye_array(matrix.shape[0])).count_nonzero() == 0)
