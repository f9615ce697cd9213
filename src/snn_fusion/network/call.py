"""One pass through a layer: what the kernels need to know beside weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes, side_by_side
from snn_fusion.network import kernels
from snn_fusion.network.neurons import Reset

Bools = npt.NDArray[np.bool_]


def array(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor's values for the kernels: contiguous, and without a copy where they are already."""
    values: npt.NDArray[Any] = tensor.detach().contiguous().numpy()
    return values


@dataclass
class Call:
    """Sizes, neuron and input events of a pass; `fired`, the layer's spikes, is there after it.

    `sources` say of each source, and `active` of all together, which recordings bring any input. With `last` only the
    readout's last potential is wanted.
    """

    recordings: int
    steps: int
    threshold: float
    slope: float
    reset: Reset
    last: bool
    events: Spikes | None = None
    sources: list[Bools] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    active: Bools = field(init=False)
    fired: Spikes = field(init=False)

    def __post_init__(self) -> None:
        self.active = np.ones(self.recordings, np.bool_)

    def set_events(self, events: Sequence[Spikes], active: Sequence[Bools | None]) -> None:
        """Put the channels of several sources side by side."""
        self.events, self.sizes = side_by_side(events), [one.channels for one in events]
        self.sources = [self.active if a is None else a for a in active]
        self.active = np.logical_or.reduce(self.sources)

    @property
    def input(self) -> tuple[Any, Any, Any]:
        """`active`, `indptr` and `index` for the kernels; no events where the current is given."""
        if self.events is None:
            return self.active, np.zeros(1, np.int32), np.zeros(0, np.int32)
        return self.active, self.events.indptr, self.events.index

    def neuron(self, kind: type[Any]) -> tuple[Any, Any, int]:
        """Threshold, slope and reset; in the tensors' own precision, so that the kernels round as torch does."""
        return kind(self.threshold), kind(self.slope), kernels.RESETS.index(self.reset)
