"""The training loop: surrogate gradients through the whole recording, early stopping, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snn_fusion.config import Params
from snn_fusion.data.recording import Sense
from snn_fusion.network.fusion import JOINT, FusionNetwork
from snn_fusion.network.spike_train import SpikeTrain
from snn_fusion.training.batches import MISSING, Samples, TrainingData, batches, epoch_samples
from snn_fusion.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from snn_fusion.training.health import check_finite, check_rates
from snn_fusion.training.team import Team

# Fixed, because sums over another number of threads round differently, and the same seed must give the same weights.
THREADS = 2
MAX_BETA = 0.999  # a decay of 1 has no time constant in NIR
# After each epoch decays are multiples of 1 / 4096, and weights into spiking layers of 1 / 512: what the network is
# judged by and ends with are numbers that a chip's whole numbers can be.
DECAY_GRID, WEIGHT_GRID = 4096, 512
VALIDATION_BATCH = 256
ALONE = Team()

Report = Callable[[int, float, dict[str, float]], None]


def fit(
    network: FusionNetwork,
    data: TrainingData,
    params: Params,
    checkpoint: Path,
    report: Report,
    team: Team = ALONE,
) -> Progress:
    """Train until the epochs are over or validation stops improving; the network ends with the best epoch's weights.

    After each epoch the state goes to `checkpoint`; if that exists, training goes on from there and ends with the
    same weights as an uninterrupted run. `report(epoch, share of the epoch, numbers)` is called after every batch.
    Epochs count from 1, here and wherever one is named.
    The processes of a `team` share every batch; its leader validates and writes.

    Raises TrainingStopped at a loss that is not finite, or a dead or saturated layer.
    """
    torch.set_num_threads(max(1, THREADS // team.local))
    optimiser = torch.optim.Adam(_groups(network, params.training.learning_rate), fused=True)
    progress = load_checkpoint(checkpoint, network, optimiser)
    if progress is None:
        first = epoch_samples(data, params, 0).part(slice(params.training.batch))
        network.scale_to(data.spikes(first), len(first), network.params.threshold)
        progress = Progress([], 0, math.inf, _copy(network))
    while progress.epochs < params.training.epochs and progress.epochs - progress.best_epoch < params.training.patience:
        epoch = progress.epochs + 1
        numbers = _train_epoch(network, data, params, optimiser, epoch, report, team)
        _round(network)
        numbers |= team.tell(validate(network, data) if team.leads else None)
        check_rates({k.removeprefix("rate_"): v for k, v in numbers.items() if k.startswith("rate_")}, epoch)
        progress.history.append({"epoch": epoch, **numbers})
        if numbers["val_loss"] < progress.best_loss:
            progress.best_epoch, progress.best_loss, progress.best = epoch, numbers["val_loss"], _copy(network)
        if team.leads:
            save_checkpoint(checkpoint, network, optimiser, progress)
        report(epoch, 1.0, numbers)
    network.load_state_dict(progress.best)
    return progress


def loss_of(potential: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the readout potentials (n, T, classes), later steps weighing more.

    The answer counts whenever it is read, so that stopping early costs little: step t weighs in proportion to t.
    """
    n, steps, classes = potential.shape
    weight = torch.arange(1, steps + 1, dtype=potential.dtype)
    each = functional.cross_entropy(
        potential.reshape(-1, classes), labels.repeat_interleave(steps), reduction="none", label_smoothing=0.05
    )
    return (each.view(n, steps) * (weight / weight.sum())).sum(1).mean()


def _train_epoch(
    network: FusionNetwork,
    data: TrainingData,
    params: Params,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    report: Report,
    team: Team = ALONE,
) -> dict[str, float]:
    samples = epoch_samples(data, params, epoch - 1)
    total, correct, done = 0.0, 0.0, 0
    fired: dict[str, list[float]] = {}
    network.train()
    model = team.wrap(network)
    for whole in batches(samples, params.training.batch):
        batch, weight = whole.part(team.share(len(whole))), team.weight(len(whole))
        for group in optimiser.param_groups:
            group["lr"] = group["full_lr"] * _schedule(epoch - 1 + done / len(samples), params.training.epochs)
        potential, spikes = model(data.spikes(batch), len(batch))
        labels = torch.from_numpy(batch.label)
        loss = loss_of(potential, labels) * weight
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        optimiser.step()
        check_finite(value, network, epoch)
        _limit_betas(network)
        for name, layer in spikes.items():
            fired.setdefault(name, []).append(_rate(layer, batch, name))
        right = float((potential[:, -1].argmax(1) == labels).float().mean()) * weight
        loss_now, right = (one / team.size for one in team.total([value, right]))
        total, correct, done = total + loss_now * len(whole), correct + right * len(whole), done + len(whole)
        rates = {f"rate_{name}": float(np.mean(each)) for name, each in fired.items()}
        report(epoch, done / len(samples), {"loss": total / done, "accuracy": correct / done, **rates})
    return {"loss": total / done, "accuracy": correct / done, **_mean_rates(network, fired, team)}


def _mean_rates(network: FusionNetwork, fired: dict[str, list[float]], team: Team) -> dict[str, float]:
    """Over the team's batches; in the network's order, since a sense may come late, or never, in one process."""
    names = (*network.senses, JOINT)
    sums = team.total([float(np.sum(fired.get(name, []))) for name in names])
    counts = team.total([float(len(fired.get(name, []))) for name in names])
    return {f"rate_{name}": s / n for name, s, n in zip(names, sums, counts, strict=True) if n}


@torch.no_grad()
def validate(network: FusionNetwork, data: TrainingData) -> dict[str, float]:
    """Loss and accuracy on the validation recordings: each sense alone and all fused, as they are and varied.

    `val_loss`, by which the best epoch is chosen, is the mean over all of these; accuracies are of the unvaried.
    """
    network.eval()
    numbers: dict[str, float] = {}
    losses = []
    for name, samples in validation_views(data):
        loss, accuracy = _measure(network, data, samples)
        losses.append(loss)
        numbers.setdefault(f"val_accuracy_{name}", accuracy)  # the unvaried come first
    return {"val_loss": float(np.mean(losses)), **numbers}


def validation_views(data: TrainingData) -> Iterator[tuple[str, Samples]]:
    """The validation recordings of each sense alone and of all fused, as they are and then varied; none is empty."""
    varied = data.vary(data.validation, np.random.default_rng(0), lowest=1)  # the same variations every time
    wanted: dict[str, tuple[Sense, ...]] = {s: (s,) for s in data.senses}
    if len(data.senses) > 1:
        wanted["fused"] = data.senses
    for name, senses in wanted.items():
        for samples in (data.validation, varied):
            if len(chosen := _having(samples, senses)):
                yield name, chosen


def _having(samples: Samples, senses: tuple[Sense, ...]) -> Samples:
    """The samples that have all of these senses, with those alone."""
    there = np.all([samples.recording[s] != MISSING for s in senses], axis=0)
    chosen = samples.part(there)
    return chosen if len(senses) > 1 else chosen.only(senses[0])


def _measure(network: FusionNetwork, data: TrainingData, samples: Samples) -> tuple[float, float]:
    loss, correct = 0.0, 0
    for batch in batches(samples, VALIDATION_BATCH):
        potential, _ = network(data.spikes(batch), len(batch))
        labels = torch.from_numpy(batch.label)
        loss += loss_of(potential, labels).item() * len(batch)
        correct += int((potential[:, -1].argmax(1) == labels).sum())
    return loss / len(samples), correct / len(samples)


def _rate(spikes: SpikeTrain, batch: Samples, name: str) -> float:
    """Spikes a neuron and step, over the samples that have the sense."""
    share = float((batch.recording[name] != MISSING).mean()) if name in batch.recording else 1.0
    return spikes.density / max(share, 1e-9)


def _schedule(epoch: float, epochs: int) -> float:
    """Learning rate, as a share of the full one: up over the first half epoch, then down along a cosine."""
    return min(1.0, (epoch + 0.02) / 0.5) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0))))


def _groups(network: FusionNetwork, rate: float) -> list[dict[str, object]]:
    """The decays learn at a tenth of the rate: they act on every step of every neuron of their layer."""
    betas = [p for name, p in network.named_parameters() if name.startswith("beta.")]
    weights = [p for name, p in network.named_parameters() if not name.startswith("beta.")]
    return [
        {"params": weights, "lr": rate, "full_lr": rate},
        {"params": betas, "lr": rate / 10, "full_lr": rate / 10},
    ]


@torch.no_grad()
def _limit_betas(network: FusionNetwork) -> None:
    for beta in network.beta.values():
        beta.clamp_(0.0, MAX_BETA)


@torch.no_grad()
def _round(network: FusionNetwork) -> None:
    for beta in network.beta.values():
        beta.copy_(torch.round(beta * DECAY_GRID) / DECAY_GRID)
    for weights in (*network.input.values(), *network.joint.values(), *network.recurrent.values()):
        weights.copy_(torch.round(weights * WEIGHT_GRID) / WEIGHT_GRID)


def _copy(network: FusionNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
