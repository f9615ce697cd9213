"""What a user would put around the same network with snnTorch and BentoML alone: the other side of serving.py.

One API that takes sound as JSON arrays and batches by default. The network is the graph's, in snnTorch's own neurons:
the sound's branch, the joint layer and the readout, in the loop over the steps that snnTorch's tutorials show; what
becomes of the other senses is left out, which it would compute for nothing. Spikes come from the same encoder.
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml
import numpy as np
import snntorch
import torch

from snn_fusion.data.recording import Audio
from snn_fusion.encoding.encoder import encode, with_taps
from snn_fusion.network.graph import load_graph

GRAPH = Path(os.environ["PLAIN_SERVICE_GRAPH"])
RATE = 8000  # Hz, as FSDD


class Network(torch.nn.Module):
    """Spikes of a sound (batch, steps, channels) to the readout's last potential (batch, classes)."""

    def __init__(self, graph) -> None:
        super().__init__()
        trained, beta = graph.network, {n: float(b.detach()) for n, b in graph.network.beta.items()}
        weights = {"audio": trained.input["audio"], "joint": trained.joint["audio"], "readout": trained.readout}
        for name, w in weights.items():
            layer = torch.nn.Linear(*w.shape, bias=False)
            layer.weight.data = w.detach().T.contiguous()
            setattr(self, name, layer)
        threshold = trained.params.threshold
        self.lif_audio = snntorch.Leaky(beta["audio"], threshold=threshold, reset_mechanism="zero")
        self.lif_joint = snntorch.Leaky(beta["joint"], threshold=threshold, reset_mechanism="zero")
        self.li = snntorch.Leaky(beta["readout"], reset_mechanism="none")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        audio, joint, out = (one.init_leaky() for one in (self.lif_audio, self.lif_joint, self.li))
        for t in range(x.shape[1]):
            fired, audio = self.lif_audio(self.audio(x[:, t]), audio)
            fired, joint = self.lif_joint(self.joint(fired), joint)
            _, out = self.li(self.readout(fired), out)
        return out


@bentoml.service(name="plain", workers=1)
class Plain:
    def __init__(self) -> None:
        graph = load_graph(GRAPH)
        self.code, self.network = graph.encoding, Network(graph).eval()

    @bentoml.api(batchable=True)
    def predict(self, samples: np.ndarray) -> np.ndarray:
        """(batch, samples) of sound -> (batch, classes) of scores."""
        torch.set_flush_denormal(True)  # or silence would cost it several times more than sound, as it would ours
        spikes = [with_taps(encode(Audio(one.astype(np.float32), RATE), self.code), self.code) for one in samples]
        with torch.no_grad():
            scores: np.ndarray = self.network(torch.from_numpy(np.stack([one.dense() for one in spikes]))).numpy()
        return scores
