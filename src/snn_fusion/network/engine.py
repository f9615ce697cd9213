"""The event-driven engine: layers that compute only where there are spikes, as ordinary differentiable functions.

Three paths give the same results: `events` gathers the weight rows of active inputs in compiled kernels; `dense`
multiplies matrices where spikes are so many that this is faster, with the same kernels over time; `torch` is plain
torch on any device, for what the kernels do not do (CUDA, other precisions). docs/engine.md says when each is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.call import Call
from snn_fusion.network.checks import check_layer, check_tensor, takes
from snn_fusion.network.neurons import LIF, li_scan, lif_scan
from snn_fusion.network.scan import scan
from snn_fusion.network.spike_train import SpikeTrain

Path = Literal["events", "dense", "torch"]
PATHS: tuple[Path, ...] = ("events", "dense", "torch")
Sources = Sequence[tuple[SpikeTrain, Tensor]]  # what comes into a layer, and the weights (channels, N) that it meets

# Share of active inputs from which a matrix product is faster than gathering; docs/engine.md says how measured.
DENSE_ABOVE = 0.6


def spiking_layer(
    sources: Sources, neuron: LIF, recurrent: Tensor | None = None, path: Path | None = None
) -> SpikeTrain:
    """A layer of LIF neurons from rest: sources of B recordings and T steps -> spikes (B, T, N).

    The current is the sum over sources of spikes times weights, and of the spikes one step before times `recurrent`
    (N, N). `path` None: the fastest for device, precision and measured density. Raises BadInput.
    """
    _check(sources, neuron, recurrent, path)
    path = path or choose_path(sources)
    if path == "torch":
        spikes = lif_scan(_current_by_torch(sources), neuron, recurrent)
        return SpikeTrain(len(spikes), tensor=spikes)
    call, current, weights = _prepare(sources, neuron, path)
    link, _ = scan(call, current, weights, recurrent, _clamped(neuron.beta), None, None, _handles(sources, path))
    return SpikeTrain(call.recordings, fired=call.fired, link=link, active=call.active)


def spiking_readout(
    sources: Sources,
    neuron: LIF,
    readout: Tensor,
    readout_beta: Tensor,
    recurrent: Tensor | None = None,
    last: bool = False,
    path: Path | None = None,
) -> tuple[Tensor, SpikeTrain]:
    """A spiking layer and the leaky integrator over it, in one pass: potentials (B, T, O), and the layer's spikes.

    `readout` is (N, O). With `last` only the potential after the last step is returned, (B, O): the readout is linear,
    so its gradient collapses to one product a recording. No gradient flows through the returned spikes. Raises
    BadInput.
    """
    _check(sources, neuron, recurrent, path, readout, readout_beta)
    path = path or choose_path(sources)
    if path == "torch":
        spikes = lif_scan(_current_by_torch(sources), neuron, recurrent)
        potential = li_scan(spikes @ readout, readout_beta)
        return (potential[:, -1] if last else potential), SpikeTrain(len(spikes), tensor=spikes.detach())
    call, current, weights = _prepare(sources, neuron, path, last)
    beta, outer = _clamped(neuron.beta), _clamped(readout_beta)
    _, output = scan(call, current, weights, recurrent, beta, readout, outer, _handles(sources, path))
    assert output is not None
    train = SpikeTrain(call.recordings, fired=call.fired, active=call.active)
    return (output[:, 0] if last else output), train


def choose_path(sources: Sources) -> Path:
    """By device, precision, and the share of inputs that are active."""
    weights = sources[0][1]
    if not takes(weights):
        return "torch"
    synapses = [train.channels for train, _ in sources]
    density = sum(train.density * c for (train, _), c in zip(sources, synapses, strict=True)) / sum(synapses)
    return "dense" if density > DENSE_ABOVE else "events"


def _clamped(beta: Tensor) -> Tensor:
    """Within 0 ... 1; a single decay that is there already is spared an operation that single answers would feel."""
    return beta if beta.ndim == 0 and 0 <= beta.item() <= 1 else beta.clamp(0, 1)


def _check(
    sources: Sources,
    neuron: LIF,
    recurrent: Tensor | None,
    path: Path | None,
    readout: Tensor | None = None,
    readout_beta: Tensor | None = None,
) -> None:
    """Shapes, devices, precisions and values of all that goes in."""
    if not sources:
        raise BadInput("sources", "there is none", "give at least one spike train and its weights")
    like = sources[0][1]
    check_layer(like, neuron, recurrent, readout, readout_beta)
    if path not in (None, *PATHS):
        raise BadInput("path", f"is {path!r}", f"there are: {', '.join(PATHS)}, or None")
    if path not in (None, "torch") and not takes(like):
        raise BadInput(f"path {path}", f"does not take {like.dtype} on {like.device}", "use the path torch, or None")
    shape = sources[0][0].recordings, sources[0][0].steps
    for train, weights in sources:
        check_tensor("weights", weights, (train.channels, like.shape[1]), like)
        if (train.recordings, train.steps) != shape:
            found = f"{train.recordings} recordings of {train.steps} steps beside {shape[0]} of {shape[1]}"
            raise BadInput("sources", found, "give the same recordings for every source")
        if train.tensor is not None and (train.tensor.device, train.tensor.dtype) != (like.device, like.dtype):
            found = f"{train.tensor.dtype} on {train.tensor.device}, and weights {like.dtype} on {like.device}"
            raise BadInput("spikes", found, "use one device and precision")
    if min(shape) < 1:
        raise BadInput("sources", f"{shape[0]} recordings of {shape[1]} steps", "give at least one of each")


def _prepare(
    sources: Sources, neuron: LIF, path: Path, last: bool = False
) -> tuple[Call, Tensor | None, Tensor | None]:
    """What the kernels take: the call, and the current (path `dense`) or the weights (path `events`)."""
    trains = [train for train, _ in sources]
    recordings, steps = trains[0].recordings, trains[0].steps
    call = Call(recordings, steps, neuron.threshold, neuron.slope, neuron.reset, last)
    if path == "dense":
        products = [train.as_dense(weights) @ weights for train, weights in sources]
        return call, sum(products[1:], products[0]), None
    call.set_events([train.as_events() for train in trains], [train.active for train in trains])
    return call, None, torch.cat([w for _, w in sources]) if len(sources) > 1 else sources[0][1]


def _handles(sources: Sources, path: Path) -> list[Tensor | None]:
    return [train.differentiable for train, _ in sources] if path == "events" else []


def _current_by_torch(sources: Sources) -> Tensor:
    total: Tensor | None = None
    for train, weights in sources:
        if train.differentiable is not None:
            current = train.as_dense(weights) @ weights
        else:
            current = gather(train.as_events(), weights).view(train.recordings, train.steps, -1)
        total = current if total is None else total + current
    assert total is not None
    return total


def gather(spikes: Spikes, weights: Tensor) -> Tensor:
    """Input current by events: the sum of the weight rows of each row's spikes, (rows, target)."""
    index, indptr = (torch.from_numpy(a).to(weights.device) for a in (spikes.index, spikes.indptr))
    return functional.embedding_bag(index, weights, indptr, mode="sum", include_last_offset=True)
