"""One epoch of the default pipeline network, ours from the event store against its snnTorch twin.

    python -m engine.epoch WORKSPACE PARAMS BATCHES

Both train on the same samples in turns: forward, loss over all steps, backward, Adam. The clock includes what each
needs to have its input: ours the events of the batch, the twin these and its dense tensors (given apart too). Writes
one JSON line: ms a batch, batches an epoch, and how far loss and gradients of the first batch are apart.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.compare import agreement
from engine.twin import TwinNetwork, dense
from engine.worker import THREADS
from snn_fusion.config import Params, load_params
from snn_fusion.data.manifest import read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.encoder import inputs
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator
from snn_fusion.training.batches import Samples, TrainingData, batches, epoch_samples, training_data
from snn_fusion.training.loop import loss_of
from snn_fusion.workspace import Workspace

WARM_UP = 2


def read(params: Params, ws: Workspace) -> TrainingData:
    stores = {sense: SpikeStore.open(ws.path("encoded", f"{sense}.arrow")) for sense in SENSES}
    rows = [read_manifest(ws.path("validated", f"{name}.parquet")) for name in ("joined", "recordings")]
    return training_data(params, {s: store for s, store in stores.items() if len(store)}, *rows)


class Trainee:
    """A network with its optimiser; `step` is what the trainer does with a batch."""

    def __init__(self, network: nn.Module, rate: float) -> None:
        self.network = network
        self.optimiser = torch.optim.Adam(network.parameters(), rate, fused=True)

    def step(self, potential: Tensor, samples: Samples) -> float:
        loss = loss_of(potential, torch.from_numpy(samples.label))
        self.optimiser.zero_grad()
        loss.backward()
        value = loss.item()
        self.optimiser.step()
        return value


def measure(params: Params, data: TrainingData, count: int) -> dict[str, object]:
    size = params.training.batch
    chosen = list(batches(epoch_samples(data, params, 0), size))[: count + WARM_UP]
    sizes = {sense: inputs(params.encoding, sense) for sense in data.senses}
    slope, generator = params.training.surrogate_slope, initial_generator(params.seed)
    network = FusionNetwork(sizes, len(data.classes), params.network, slope, generator)
    network.scale_to(data.spikes(chosen[0]), len(chosen[0]), params.network.threshold)
    rate = params.training.learning_rate
    twin = Trainee(TwinNetwork(network), rate)
    ours = Trainee(network, rate)
    ms: dict[str, list[float]] = {"ours": [], "twin": [], "dense": []}
    losses: list[tuple[float, float]] = []
    for samples in chosen:
        gc.collect()
        gc.disable()
        started = time.perf_counter()
        mine = ours.step(network(data.spikes(samples), len(samples))[0], samples)
        middle = time.perf_counter()
        tensors = dense(data.spikes(samples), len(samples))
        prepared = time.perf_counter()
        theirs = twin.step(twin.network(tensors), samples)
        ended = time.perf_counter()
        gc.enable()
        if not losses:
            found = agreement(_gradients(network, mine), _twin_gradients(twin.network, theirs))
        losses.append((mine, theirs))
        for name, taken in (("ours", middle - started), ("twin", ended - middle), ("dense", prepared - middle)):
            ms[name].append(taken * 1e3)
    kept = {name: taken[WARM_UP:] for name, taken in ms.items()}
    return {
        **{name: statistics.median(taken) for name, taken in kept.items()},
        "ratio": statistics.median(t / o for t, o in zip(kept["twin"], kept["ours"], strict=True)),
        "ratio_prepared": statistics.median(
            (t - d) / o for t, d, o in zip(kept["twin"], kept["dense"], kept["ours"], strict=True)
        ),
        "measured": len(kept["ours"]),
        "batches": -(-params.training.recordings_per_epoch // size),
        "agreement": vars(found),
        "last_losses": losses[-1],
    }


def _gradients(network: FusionNetwork, loss: float) -> dict[str, object]:
    of = {f"input.{s}": network.input[s] for s in network.senses}
    of |= {f"joint.{s}": network.joint[s] for s in network.senses} | {"readout": network.readout}
    of |= {f"beta.{name}": beta for name, beta in network.beta.items()}
    return {"loss": torch.tensor(loss).numpy(), **{k: p.grad.numpy() for k, p in of.items() if p.grad is not None}}


def _twin_gradients(twin: TwinNetwork, loss: float) -> dict[str, object]:
    of = {f"input.{s}": twin.input[s].weight for s in twin.senses}
    of |= {f"joint.{s}": twin.to_joint[s].weight for s in twin.senses} | {"readout": twin.to_readout.weight}
    found = {k: p.grad.numpy().T for k, p in of.items() if p.grad is not None}
    betas = {f"beta.{s}": twin.branch[s].beta for s in twin.senses}
    betas |= {"beta.joint": twin.joint.beta, "beta.readout": twin.readout.beta}
    found |= {k: p.grad.numpy() for k, p in betas.items() if p.grad is not None}
    return {"loss": torch.tensor(loss).numpy(), **found}


def main() -> None:
    torch.set_num_threads(THREADS)
    params = load_params(Path(sys.argv[2]))
    print(json.dumps(measure(params, read(params, Workspace(Path(sys.argv[1]))), int(sys.argv[3]))))


if __name__ == "__main__":
    main()
