"""Signs that training has gone wrong, found before more time is spent on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from snn_fusion.errors import TrainingStopped

DEAD, SATURATED = 1e-4, 0.9  # spikes a neuron and step, over an epoch


def check_finite(loss: float, network: nn.Module, epoch: int) -> None:
    """Raises TrainingStopped if the loss or a weight is not finite, naming the parameters that are not."""
    if math.isfinite(loss) and all(p.detach().sum().isfinite() for p in network.parameters()):
        return
    bad = [name for name, p in network.named_parameters() if not p.isfinite().all()]
    bad_gradient = [
        name for name, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
    ]
    which = f"weights {', '.join(bad)}" if bad else f"gradients of {', '.join(bad_gradient) or 'no layer yet'}"
    raise TrainingStopped(f"epoch {epoch}: loss is {loss}; not finite: {which} (lower training.learning_rate)")


def check_rates(rates: Mapping[str, float], epoch: int) -> None:
    """Raises TrainingStopped naming every layer that is dead or saturated. Rates in spikes a neuron and step."""
    dead = [f"{layer} is dead ({rate:.2g})" for layer, rate in rates.items() if rate < DEAD]
    saturated = [f"{layer} is saturated ({rate:.2f})" for layer, rate in rates.items() if rate > SATURATED]
    if dead or saturated:
        limits = f"a layer must fire between {DEAD:g} and {SATURATED:g} spikes a neuron and step"
        raise TrainingStopped(f"epoch {epoch}: {'; '.join(dead + saturated)}; {limits} (see network.threshold)")
