"""A network that has learnt the synthetic digits, in some seconds: for tests that look at the answer itself."""

from __future__ import annotations

from pathlib import Path

import torch

from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.encoder import encode_together, inputs, with_taps
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, save_graph
from snn_fusion.serving.examples import example
from snn_fusion.serving.payload import Recording, signals, wired
from snn_fusion.training.loop import loss_of
from tests.serving.made import CLASSES, CODE, PARAMS

SEEDS, ROUNDS, STEP = 2, 30, 0.005  # examples of each digit; passes over them; how far a weight goes in the first


def learn(folder: Path) -> Path:
    """A graph folder; its network knows the first examples of each digit by heart, which says nothing of others."""
    torch.set_num_threads(2)  # sums over another number of threads round differently
    labels = [label for label in CLASSES for _ in range(SEEDS)]
    given = [_spikes(label, i % SEEDS) for i, label in enumerate(labels)]
    together = {s: Spikes.concatenate([one[s] for one in given]) for s in SENSES}
    params = PARAMS.network.model_copy(update={"branch": dict.fromkeys(SENSES, 48), "joint": 64})
    network = FusionNetwork({s: inputs(CODE, s) for s in SENSES}, len(CLASSES), params, generator=initial_generator(0))
    network.scale_to(together, len(labels), params.threshold)
    wanted = torch.tensor([CLASSES.index(label) for label in labels])
    for done in range(ROUNDS):
        potential, _ = network(together, len(labels))
        network.zero_grad()
        loss_of(potential, wanted).backward()
        for weights in network.parameters():  # by the gradient's sign: torch.optim alone takes seconds to import
            weights.data -= STEP * (1 - done / ROUNDS) * weights.grad.sign()
        for beta in network.beta.values():
            beta.data.clamp_(0.0, 0.99)
    save_graph(folder, network, CODE, CLASSES, {"data": "synthetic", "seed": 0})
    return folder


def _spikes(label: str, seed: int) -> dict[str, Spikes]:
    given = signals(wired(example(label, seed), Recording), CODE)
    return {sense: with_taps(one, CODE) for sense, one in encode_together(given, CODE)[0].items()}
