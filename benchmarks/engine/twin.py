"""The pipeline's fusion network as a snnTorch user writes it: dense inputs, a loop over time, the same weights."""

from __future__ import annotations

from collections.abc import Mapping

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.fusion import JOINT, READOUT, FusionNetwork


class TwinNetwork(nn.Module):
    """Copies the weights and decays of a FusionNetwork without recurrent layers; the decays are learnt, as there."""

    def __init__(self, network: FusionNetwork) -> None:
        super().__init__()
        if len(network.recurrent):
            raise ValueError(f"no twin of recurrent layers: {', '.join(network.recurrent)}")
        threshold, spike = network.params.threshold, surrogate.fast_sigmoid(slope=network.slope)

        def leaky(name: str, reset: str) -> snntorch.Leaky:
            beta = network.beta[name].detach().clone()
            return snntorch.Leaky(beta, threshold, spike_grad=spike, learn_beta=True, reset_mechanism=reset)

        self.senses = network.senses
        self.input = nn.ModuleDict({s: _linear(network.input[s]) for s in self.senses})
        self.branch = nn.ModuleDict({s: leaky(s, "zero") for s in self.senses})
        self.to_joint = nn.ModuleDict({s: _linear(network.joint[s]) for s in self.senses})
        self.joint, self.readout = leaky(JOINT, "zero"), leaky(READOUT, "none")
        self.to_readout = _linear(network.readout)

    def forward(self, inputs: Mapping[Sense, Tensor]) -> Tensor:
        """(T, B, C) of each sense that is there -> potential (B, T, classes)."""
        present = [s for s in self.senses if s in inputs]
        potential = {s: self.branch[s].reset_mem() for s in present}
        joint, out = self.joint.reset_mem(), self.readout.reset_mem()
        outs = []
        for t in range(len(inputs[present[0]])):
            current = torch.zeros(())
            for s in present:
                spikes, potential[s] = self.branch[s](self.input[s](inputs[s][t]), potential[s])
                current = current + self.to_joint[s](spikes)
            spikes, joint = self.joint(current, joint)
            _, out = self.readout(self.to_readout(spikes), out)
            outs.append(out)
        return torch.stack(outs, 1)


def dense(spikes: Mapping[Sense, Spikes], n: int) -> dict[Sense, Tensor]:
    """What the network is given: (T, B, C) of 0 and 1 for each sense."""
    return {
        s: torch.from_numpy(each.dense()).view(n, -1, each.channels).transpose(0, 1).contiguous()
        for s, each in spikes.items()
    }


def _linear(weights: Tensor) -> nn.Linear:
    layer = nn.Linear(*weights.shape, bias=False)
    layer.weight = nn.Parameter(weights.detach().T.contiguous())
    return layer
