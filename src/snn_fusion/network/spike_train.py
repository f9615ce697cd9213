"""What passes between layers: the spikes of a batch as events, as a layer's kernels leave them, or as a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.call import Fired
from snn_fusion.network.checks import check_spikes


@dataclass(frozen=True)
class SpikeTrain:
    """Spikes of `recordings` recordings, T steps each, over a layer's neurons or an encoder's channels.

    `events`, `fired` and `tensor` (B, T, channels) are the same spikes, and one of them is there. Gradients flow
    through `tensor`, or through `link`, which has its shape and no values: `dense` puts them in when somebody asks.
    `active` (B,) is false where nothing at all came into the layer, so that no weight before it can matter.
    """

    recordings: int
    events: Spikes | None = None
    fired: Fired | None = None
    tensor: Tensor | None = None
    link: Tensor | None = None
    active: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.events is not None:
            check_spikes(self.events, self.recordings)
            ends = self.events.indptr[:: self.events.rows // self.recordings]
            object.__setattr__(self, "active", ends[1:] > ends[:-1])

    @classmethod
    def of(cls, spikes: Spikes, recordings: int) -> SpikeTrain:
        """Encoded recordings, checked, and copied: a gradient may need them when the caller has long moved on.

        Raises BadInput naming the field, its value and the remedy.
        """
        indptr, index = (a.copy() if isinstance(a, np.ndarray) else a for a in (spikes.indptr, spikes.index))
        return cls(recordings, events=Spikes(indptr, index, spikes.channels))

    @classmethod
    def from_dense(cls, spikes: Tensor) -> SpikeTrain:
        """A (B, T, channels) tensor of 0 and 1. Raises BadInput."""
        if spikes.ndim != 3 or not spikes.is_floating_point():
            problem = f"is {spikes.dtype} of shape {tuple(spikes.shape)}"
            raise BadInput("spikes", problem, "give a floating-point tensor (recordings, steps, channels)")
        values = spikes.detach()
        if not bool(((values == 0) | (values == 1)).all()):
            raise BadInput("spikes", "hold values that are neither 0 nor 1", "encode them first")
        return cls(len(spikes), tensor=spikes)

    @property
    def channels(self) -> int:
        if self.fired is not None:
            return self.fired.neurons
        return self.events.channels if self.events is not None else self._tensor.shape[2]

    @property
    def steps(self) -> int:
        if self.fired is not None:
            return int(self.fired.bits.shape[2])
        return self.events.rows // self.recordings if self.events is not None else self._tensor.shape[1]

    @property
    def density(self) -> float:
        """Share of (recording, step, channel) with a spike."""
        if self.tensor is not None:
            return float(self.tensor.detach().mean())
        events = self.as_events()
        return len(events.index) / (events.rows * events.channels)

    @property
    def differentiable(self) -> Tensor | None:
        """Where gradients by the spikes go."""
        return self.tensor if self.link is None else self.link

    @property
    def dense(self) -> Tensor:
        """The spikes as a tensor of 0 and 1, (B, T, channels); with gradients where there are any."""
        if self.tensor is not None:
            return self.tensor
        if self.link is None:
            return self._values
        valued: Tensor = _Valued.apply(self.link, self._values)  # type: ignore[no-untyped-call]
        return valued

    @cached_property
    def _values(self) -> Tensor:
        values = torch.from_numpy(self.as_events().dense()).view(self.recordings, self.steps, self.channels)
        return values if self.link is None else values.to(self.link.dtype)

    def as_events(self) -> Spikes:
        """The spikes as events, made from what is there if need be."""
        if self.events is not None:
            return self.events
        if self.fired is not None:
            return self.fired.events
        return Spikes.from_dense(self._tensor.detach().cpu().numpy().reshape(-1, self.channels) > 0)

    def as_dense(self, like: Tensor) -> Tensor:
        """`dense` in the precision and on the device of `like`."""
        return self.dense.to(like)

    def per_step(self) -> npt.NDArray[np.int32]:
        """Spikes of each recording in each step, (B, T)."""
        return self.as_events().counts().reshape(self.recordings, self.steps)

    def per_neuron(self) -> npt.NDArray[np.int64]:
        """Spikes of each neuron, over all recordings and steps, (channels,)."""
        return np.bincount(self.as_events().index, minlength=self.channels)

    @property
    def _tensor(self) -> Tensor:
        if self.tensor is None:
            raise BadInput("spike train", "has neither events nor a tensor", "give one of them")
        return self.tensor


class _Valued(torch.autograd.Function):
    """The link of a train with its values put in."""

    @staticmethod
    def forward(ctx: Any, link: Tensor, values: Tensor) -> Tensor:
        return values.clone()  # whoever writes to it does not change the train

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None
