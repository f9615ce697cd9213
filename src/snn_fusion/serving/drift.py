"""Has what is asked moved away from what the network was trained on? Spike rates of senses and layers, compared.

The distance is the population stability index over the deciles of the training recordings (validation/drift.py), of
the last WINDOW whole recordings that were answered. An answer after fewer steps and one from the cache count for
nothing: the first has other rates, the second was counted already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from snn_fusion.data.recording import Sense
from snn_fusion.registry.rates import measured
from snn_fusion.serving.model import Model
from snn_fusion.validation.drift import Drift, compare

WINDOW = 1000  # recordings of each measurement
LEAST = 100  # of fewer nothing is said


class Watch:
    """The last rates of a model that has a profile; `limit` is the index that is allowed, or what chance gives."""

    def __init__(self, model: Model, limit: float) -> None:
        self.model, self.limit, self.added = model, limit, 0
        self._last: dict[str, dict[str, deque[float]]] = {
            view: {name: deque(maxlen=WINDOW) for name in of} for view, of in (model.profile or {}).items()
        }

    def add(self, inputs: Mapping[Sense, int], layers: Mapping[str, int]) -> None:
        """Spikes of one whole recording: of each sense that was used, and of each layer (none on a chip)."""
        self.added += 1
        for view, found in measured(self.model.graph, list(inputs), inputs, layers).items():
            for name, rate in found.items():
                if name in self._last.get(view, {}):
                    self._last[view][name].append(rate)

    def found(self) -> list[Drift]:
        """Of each measurement with enough recordings; of a model without profile, nothing."""
        values = {
            view: {name: np.array(last) for name, last in of.items() if len(last) >= LEAST}
            for view, of in self._last.items()
        }
        return compare(self.model.profile or {}, values, self.limit, "requests", "training")
