"""The fusion network: a spiking branch a sense, a joint spiking layer, a readout by membrane potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snn_fusion.config import NetworkParams
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.encoding.spikes import Int32, Spikes
from snn_fusion.network.engine import Path, Sources, gather, spiking_layer, spiking_readout
from snn_fusion.network.neurons import LIF, li_scan
from snn_fusion.network.spike_train import SpikeTrain

JOINT, READOUT = "joint", "readout"
INITIAL_BETA = {"audio": 0.9, "events": 0.9, "imu": 0.9, JOINT: 0.9, READOUT: 0.97}
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Activity:
    """What a run leaves: readout `potential` (n, T, classes), and spikes of each layer in each step, (n, T)."""

    potential: Float32
    spikes: dict[str, Int32]


def decide(potential: Float32) -> npt.NDArray[np.int64]:
    """The class of highest membrane potential, (n, classes) -> (n,); a tie goes to the lowest class."""
    answer: npt.NDArray[np.int64] = np.argmax(potential, axis=-1)
    return answer


class FusionNetwork(nn.Module):
    """Weights are (source, target). `inputs`: input channels (with delay taps) of each sense.

    A sense that is missing is silent: without a bias, silence in is silence out. `path` is the engine's: None lets it
    choose.
    """

    path: Path | None = None

    def __init__(
        self,
        inputs: Mapping[Sense, int],
        classes: int,
        params: NetworkParams,
        slope: float = 25.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.senses: tuple[Sense, ...] = tuple(s for s in SENSES if s in inputs)
        self.params, self.slope = params, slope
        joint = params.joint

        def weights(source: int, target: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(source, target, generator=generator) / source**0.5)

        self.input = nn.ParameterDict({s: weights(inputs[s], params.branch[s]) for s in self.senses})
        self.joint = nn.ParameterDict({s: weights(params.branch[s], joint) for s in self.senses})
        sizes: dict[str, int] = {JOINT: joint} | {str(s): params.branch[s] for s in self.senses}
        self.recurrent = nn.ParameterDict(
            {name: nn.Parameter(0.2 * weights(sizes[name], sizes[name]).data) for name in params.recurrent}
        )
        self.readout = weights(joint, classes)
        self.beta = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(INITIAL_BETA[name])) for name in (*self.senses, JOINT, READOUT)}
        )

    @property
    def fan_out(self) -> dict[str, tuple[str, int]]:
        """Each connection's source (a layer, or `input:<sense>`) and the synapses that one of its spikes reaches."""
        table = {f"input.{s}": (f"input:{s}", w.shape[1]) for s, w in self.input.items()}
        table |= {f"joint.{s}": (s, w.shape[1]) for s, w in self.joint.items()}
        table |= {f"recurrent.{name}": (name, w.shape[1]) for name, w in self.recurrent.items()}
        return {**table, READOUT: (JOINT, self.readout.shape[1])}

    def layer(self, name: str) -> LIF:
        """Parameters of a spiking layer."""
        return LIF(self.beta[name], self.params.threshold, self.slope)

    def forward(self, inputs: Mapping[Sense, Spikes], n: int) -> tuple[Tensor, dict[str, SpikeTrain]]:
        """Spikes of n recordings (n * T rows each sense) -> potential (n, T, classes), spikes (n, T, N) by layer.

        Raises BadInput for spikes that are not of this network.
        """
        trains = {sense: SpikeTrain.of(inputs[sense], n) for sense in self.senses if sense in inputs}
        spikes = {str(s): self._fire(s, [(train, self.input[s])]) for s, train in trains.items()}
        joint = [(spikes[sense], self.joint[sense]) for sense in trains]
        outer = self.readout, self.beta[READOUT], self._back(JOINT)
        potential, spikes[JOINT] = spiking_readout(joint, self.layer(JOINT), *outer, path=self.path)
        return potential, spikes

    def _fire(self, name: str, sources: Sources) -> SpikeTrain:
        return spiking_layer(sources, self.layer(name), self._back(name), self.path)

    def _back(self, name: str) -> Tensor | None:
        return dict(self.recurrent.items()).get(name)

    @torch.no_grad()
    def scale_to(self, inputs: Mapping[Sense, Spikes], n: int, deviation: float) -> None:
        """Scale the weights into each layer so that its input current, where it has any, has this deviation."""
        joint = []
        for sense, spikes in inputs.items():
            self._scale(self.input[sense], spikes, deviation)
            train = self._fire(sense, [(SpikeTrain.of(spikes, n), self.input[sense])])
            self._scale(self.joint[sense], train.as_events(), deviation)
            joint.append((train, self.joint[sense]))
        fired = self._fire(JOINT, joint).as_dense(self.readout)
        potential = li_scan(fired @ self.readout, self.beta[READOUT])
        self.readout.mul_(1 / potential[:, -1].std().clamp_min(1e-6))

    def _scale(self, weights: Tensor, spikes: Spikes, deviation: float) -> None:
        active = torch.from_numpy(spikes.counts() > 0)
        weights.mul_(deviation / gather(spikes, weights)[active].std().clamp_min(1e-6))

    @torch.no_grad()
    def run(self, inputs: Mapping[Sense, Spikes], n: int) -> Activity:
        """Inference on n recordings; at least one sense. A sense left out is silent."""
        potential, spikes = self(inputs, n)
        silent = {str(s): np.zeros((n, potential.shape[1]), np.int32) for s in self.senses}  # a missing sense
        return Activity(potential.numpy(), silent | {name: train.per_step() for name, train in spikes.items()})
