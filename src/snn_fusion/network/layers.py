"""The engine as torch modules: layers to build networks of one's own from, trained by any loss and optimiser.

    hidden = SpikingLayer(700, 256)
    out = SpikingReadout(256, 128, 20)
    potential = out(hidden(SpikeTrain.of(spikes, recordings)))     # (B, T, 20)
    functional.cross_entropy(potential[:, -1], labels).backward()

More: docs/engine.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.engine import Path, spiking_layer, spiking_readout
from snn_fusion.network.frozen import Frozen
from snn_fusion.network.neurons import LIF, Reset
from snn_fusion.network.spike_train import SpikeTrain


class SpikingLayer(nn.Module):
    """`neurons` LIF neurons with one learnt decay; `weights` (inputs, neurons), `recurrent` (neurons, neurons)."""

    def __init__(
        self,
        inputs: int,
        neurons: int,
        beta: float = 0.9,
        threshold: float = 1.0,
        slope: float = 25.0,
        reset: Reset = "zero",
        recurrent: bool = False,
        path: Path | None = None,
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(inputs, neurons) / inputs**0.5)
        self.recurrent = nn.Parameter(0.2 * torch.randn(neurons, neurons) / neurons**0.5) if recurrent else None
        self.beta = nn.Parameter(torch.tensor(beta))
        self.threshold, self.slope, self.reset, self.path = threshold, slope, reset, path

    @property
    def neuron(self) -> LIF:
        return LIF(self.beta, self.threshold, self.slope, self.reset)

    def forward(self, source: SpikeTrain) -> SpikeTrain:
        """Spikes of B recordings in, spikes (B, T, neurons) out. Raises BadInput."""
        return spiking_layer([(source, self.weights)], self.neuron, self.recurrent, self.path)


class SpikingReadout(SpikingLayer):
    """A spiking layer and the leaky integrator over it, computed together; `readout` (neurons, outputs)."""

    def __init__(
        self,
        inputs: int,
        neurons: int,
        outputs: int,
        beta: float = 0.9,
        readout_beta: float = 0.9,
        threshold: float = 1.0,
        slope: float = 25.0,
        reset: Reset = "zero",
        recurrent: bool = False,
        path: Path | None = None,
    ) -> None:
        super().__init__(inputs, neurons, beta, threshold, slope, reset, recurrent, path)
        self.readout = nn.Parameter(torch.randn(neurons, outputs) / neurons**0.5)
        self.readout_beta = nn.Parameter(torch.tensor(readout_beta))

    def forward(  # type: ignore[override]
        self, source: SpikeTrain | Spikes, recordings: int | None = None, last: bool = False
    ) -> Tensor:
        """Readout potentials (B, T, outputs), or with `last` only those after the last step, (B, outputs).

        Encoded spikes are taken with the number of `recordings` that they hold. Raises BadInput.
        """
        train = source if isinstance(source, SpikeTrain) else SpikeTrain.of(source, recordings or 1)
        sources = [(train, self.weights)]
        potential, _ = spiking_readout(
            sources, self.neuron, self.readout, self.readout_beta, self.recurrent, last, self.path
        )
        return potential

    def frozen(self) -> Frozen:
        """For inference with the weights of now: the last potentials in microseconds, without torch."""
        return Frozen(self.weights, self.neuron, self.readout, self.readout_beta, self.recurrent)
