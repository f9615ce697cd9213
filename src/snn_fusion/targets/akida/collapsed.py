"""The network that Akida runs in place of the leaky one, while it learns: exact whole numbers forward, floats backward.

    h_s[t] = act(W_s x_s[t])                            features of one window, by sense
    j[t]   = act(sum over senses, d: V_s,d h_s[t - d])  what the windows say together
    o[t]   = R j[t]                                     the answer is that of the last window
    act(U) = min(15, max(0, floor((U + b) / step)))

Weights are whole numbers -7 ... 7, x counts 0 ... 15, steps powers of two: these sums are exact in float32. The
gradient passes rounding as if it were not there (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from snn_fusion.targets.akida.present import Presentation, input_name
from snn_fusion.targets.populations import Connection, Population, Program

# So wide that, with ten windows, the network maps onto an AKD1500: but for its first, large layer, fully connected
# layers live in the memory of one processor.
HIDDEN, JOINT = {"audio": 32, "events": 24, "imu": 24}, 64
MOST_WINDOWS = 10
LEVELS, WEIGHT_HIGH, BIAS_HIGH = 15, 7, 127
SPREAD = 2.5  # standard deviation of the first weights
JOINT_NAME, READOUT_NAME = "joint", "readout"


class Collapsed(nn.Module):
    """Weights are (source, target), in chip units. `how`: what the inputs are."""

    def __init__(self, how: Presentation, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.how, self.senses = how, tuple(how.channels)

        def weights(source: int, target: int) -> nn.Parameter:
            return nn.Parameter(SPREAD * torch.randn(source, target, generator=generator))

        self.input = nn.ParameterDict({s: weights(how.channels[s], HIDDEN[s]) for s in self.senses})
        self.joint = nn.ParameterDict({s: weights(how.windows * HIDDEN[s], JOINT) for s in self.senses})
        self.readout = weights(JOINT, classes)
        sizes = {**{str(s): HIDDEN[s] for s in self.senses}, JOINT_NAME: JOINT}
        self.bias = nn.ParameterDict({name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()})  # steps
        self.sharpness = nn.Parameter(torch.tensor(0.0))  # of the answer; the chip needs only its order
        self.step: dict[str, float] = {}
        self.unit = 1.0

    @torch.no_grad()
    def calibrate(self, inputs: Mapping[str, Tensor]) -> None:
        """Choose the steps, so that a quarter of a layer's deviation is one, and the unit of the answer."""
        self.step = {}
        self.unit = float(self._sums(inputs, choose=True).std().clamp_min(1e-6)) / 2

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Counts (n, windows, channels) by sense, one or more -> logits of the last window, (n, classes)."""
        logits: Tensor = self._sums(inputs) / self.unit * torch.exp(self.sharpness)
        return logits

    def _sums(self, inputs: Mapping[str, Tensor], choose: bool = False) -> Tensor:
        together: Tensor | float = 0.0
        for sense in self.senses:
            if sense in inputs:
                n, windows, _ = inputs[sense].shape
                heard = inputs[sense].flatten(1).any(1).nonzero()[:, 0]  # the sums of a silent recording are 0
                found = inputs[sense][heard].flatten(0, 1) @ whole(self.input[sense], WEIGHT_HIGH)
                none = torch.zeros(n, windows, HIDDEN[sense])
                sums = none.index_copy(0, heard, found.view(-1, windows, HIDDEN[sense])).flatten(0, 1)
                sent = self._act(sums, sense, choose)
            else:  # a bias may speak where nothing arrives
                n = len(next(iter(inputs.values())))
                sums = torch.zeros(n * self.how.windows, HIDDEN[sense])
                sent = self._act(sums, sense, False) if sense in self.step else sums
            together = together + sent.reshape(n, -1) @ whole(self.joint[sense], WEIGHT_HIGH)
        assert isinstance(together, Tensor)
        return self._act(together, JOINT_NAME, choose) @ whole(self.readout, WEIGHT_HIGH)

    def _act(self, sums: Tensor, name: str, choose: bool) -> Tensor:
        if choose:
            spread = float(sums[sums != 0].std().nan_to_num(1.0))
            self.step[name] = float(2 ** max(0, round(np.log2(max(spread / 4, 1)))))
        step = self.step[name]
        above = (sums + self._bias(name)) / step
        counted = above.clamp(0, LEVELS)
        return counted + (torch.floor(above).clamp(0, LEVELS) - counted).detach()

    def _bias(self, name: str) -> Tensor:
        """b of a layer, a constant that version 2 can hold: half a step, and 8 bits of a power of two."""
        step = self.step[name]
        grain, half = max(1.0, step / 32), step / 2 if step > 1 else 0.0
        return half + grain * whole((self.bias[name] * step - half) / grain, BIAS_HIGH)

    @torch.no_grad()
    def limit(self) -> None:
        """Keep weights where their gradient can still move them."""
        for weights in (*self.input.values(), *self.joint.values(), self.readout):
            weights.clamp_(-WEIGHT_HIGH - 0.49, WEIGHT_HIGH + 0.49)

    @torch.no_grad()
    def program(self, dt: float) -> Program:
        """The same arithmetic as a program; `dt` seconds a window."""
        made = [
            self._population(sense, [(input_name(sense), whole(self.input[sense], WEIGHT_HIGH), 0)])
            for sense in self.senses
        ]
        ways = []
        for sense in self.senses:
            windows = whole(self.joint[sense], WEIGHT_HIGH).reshape(self.how.windows, HIDDEN[sense], JOINT)
            ways += [(sense, windows[t], self.how.windows - 1 - t) for t in range(self.how.windows)]
        made.append(self._population(JOINT_NAME, ways))
        made.append(self._population(READOUT_NAME, [(JOINT_NAME, whole(self.readout, WEIGHT_HIGH), 0)]))
        inputs = {input_name(sense): channels for sense, channels in self.how.channels.items()}
        return Program(inputs, tuple(made), READOUT_NAME, dt, "none", 0)

    def _population(self, name: str, ways: list[tuple[str, Tensor, int]]) -> Population:
        incoming = tuple(Connection(s, csr_array(w.numpy().astype(np.float64)), delay) for s, w, delay in ways)
        size = incoming[0].weights.shape[1]
        none = np.zeros(size)
        if name not in self.step:
            return Population(name, none, none, none, np.full(size, np.inf), incoming, spikes=False)
        step = np.full(size, self.step[name])
        # floor((U + b) / step) >= 1 where U > step - b - 1 in whole numbers; the half keeps clear of what equals it.
        threshold: npt.NDArray[np.float64] = step - self._bias(name).numpy().astype(np.float64) - 0.5
        return Population(name, none, none, none, threshold, incoming, levels=LEVELS, step=step)


def whole(values: Tensor, high: int) -> Tensor:
    """Nearest whole numbers, at most `high` in size; the gradient is that of the values."""
    kept = values.clamp(-high, high)
    return kept + (torch.round(kept) - kept).detach()
