"""Integer-aware training of the network that stands in for the leaky one on Akida, taught by the leaky one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from snn_fusion.config import Params
from snn_fusion.encoding.encoder import channels
from snn_fusion.network.graph import Graph, initial_generator
from snn_fusion.targets.akida.collapsed import MOST_WINDOWS, Collapsed
from snn_fusion.targets.akida.epochs import EPOCHS
from snn_fusion.targets.akida.present import Presentation, counts, input_name
from snn_fusion.targets.akida.unroll import unroll
from snn_fusion.targets.populations import Program
from snn_fusion.targets.teacher import answers, distance
from snn_fusion.training.batches import MISSING, Samples, TrainingData, batches, epoch_samples
from snn_fusion.training.loop import THREADS, Report

TAUGHT_EVERY = 3  # batches of which one is taught, since the teacher takes longer than the pupil
AS_RECORDED = 0.25  # share of the samples without variation: weighs clean recordings against noisy ones
AHEAD = 4  # batches that are made while one is learned
FIRST_EPOCH = 1000  # of samples: joins and variations that training did not see
BATCH = 128
RATE, BIAS_RATE = 0.12, 0.02  # of weights, in chip units, and of biases, in steps
TEACHER = 0.7  # share of the loss that compares with the teacher's answer; the rest is the label's
SMOOTHING = 0.05  # of the labels
SHIFT = 1  # steps by which a recording comes earlier or later, at most
WARM_UP = 40  # batches
AVERAGE = 0.995  # of the weights, what each batch keeps of their running mean, which is what the chip gets


@dataclass(frozen=True)
class Lesson:
    """Batch number `batch` of an epoch's `batches`: counts by sense, labels (n,), the teacher's potentials if any."""

    epoch: int
    batch: int
    batches: int
    inputs: dict[str, Tensor]
    labels: Tensor
    taught: Tensor | None


def presentation(graph: Graph) -> Presentation:
    """How the graph's recordings are shown: at most ten windows of base spikes."""
    senses, steps = graph.network.senses, graph.encoding.steps
    window = -(-steps // MOST_WINDOWS)
    return Presentation(steps, window, 15, {s: channels(graph.encoding, s) for s in senses})


def tune(graph: Graph, params: Params, data: TrainingData, report: Report, epochs: int = EPOCHS) -> Program:
    """A program of version 2 (frames are windows) whose numbers the chip holds exactly; `unroll` makes version 1's.

    It sees what the float network saw: joins, copies, missing senses; and that network's readout potentials, as soft
    labels (Hinton et al. 2015). The test split is not read. The same seed gives the same program on one machine.
    """
    torch.set_num_threads(THREADS)
    how = presentation(graph)
    network = Collapsed(how, len(graph.classes), initial_generator(params.seed))
    optimiser = torch.optim.Adam(_groups(network), fused=True)
    first = epoch_samples(data, params, FIRST_EPOCH).part(slice(4 * BATCH))
    network.calibrate(shown(data, first, how))
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))  # type: ignore[no-untyped-call]
    total, right = 0.0, 0.0
    for lesson in _ahead(_lessons(graph, params, data, how, epochs)):
        for group in optimiser.param_groups:
            group["lr"] = group["full_lr"] * _schedule(lesson, epochs)
        logits = network(lesson.inputs)
        loss = _loss(logits, lesson.labels, lesson.taught)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        network.limit()
        mean.update_parameters(network)
        if lesson.batch == 0:
            total, right = 0.0, 0.0
        total += loss.item()
        right += float((logits.argmax(1) == lesson.labels).float().mean())
        done = lesson.batch + 1
        report(lesson.epoch + 1, done / lesson.batches, {"loss": total / done, "accuracy": right / done})
    network.load_state_dict(mean.module.state_dict())
    return network.program(how.window * graph.encoding.step_ms / 1000)


def versions(program: Program, how: Presentation) -> dict[str, tuple[Program, Presentation]]:
    """By target what to compile and how to present recordings to it: the same network, the same answers."""
    return {
        "akida": (unroll(program, how.windows), replace(how, frames=False)),
        "akida2": (program, how),
    }


def shown(
    data: TrainingData, samples: Samples, how: Presentation, rng: np.random.Generator | None = None
) -> dict[str, Tensor]:
    """Counts by sense as the chip gets them, those that all samples miss left out; `rng` shifts each a little."""
    present = [s for s in how.channels if (samples.recording[s] != MISSING).any()]  # type: ignore[index]
    spikes = {s: data.stores[s].take(samples.recording[s]) for s in present}  # type: ignore[index]
    shift = None if rng is None else {s: rng.integers(-SHIFT, SHIFT + 1, len(samples)) for s in present}
    found = counts(spikes, len(samples), how, shift)
    return {s: torch.from_numpy(found[input_name(s)].astype(np.float32)) for s in present}


def as_recorded(data: TrainingData, samples: Samples, rng: np.random.Generator) -> Samples:
    """The share `AS_RECORDED` of the samples with each recording itself in place of its variation."""
    chosen, recording = rng.random(len(samples)) < AS_RECORDED, {}
    for sense, rows in samples.recording.items():
        copy = np.asarray(data.stores[sense].meta["copy"], np.int64)  # a recording's variations follow it
        recording[sense] = np.where(chosen & (rows != MISSING), rows - copy[rows], rows)
    return Samples(recording, samples.label)


def _lessons(
    graph: Graph, params: Params, data: TrainingData, how: Presentation, epochs: int
) -> Iterator[Callable[[], Lesson]]:
    """Each batch of all epochs, yet to be made, and to be made in order."""
    rng, chance = (np.random.default_rng([params.seed, stream]) for stream in (2, 3))

    def make(part: Samples, epoch: int, batch: int, of: int) -> Lesson:
        taught = answers(graph, data, part) if (epoch + batch) % TAUGHT_EVERY == 0 else None
        return Lesson(epoch, batch, of, shown(data, part, how, rng), torch.from_numpy(part.label), taught)

    for epoch in range(epochs):
        samples = as_recorded(data, epoch_samples(data, params, FIRST_EPOCH + epoch), chance)
        parts = list(batches(samples, BATCH))
        yield from (partial(make, part, epoch, i, len(parts)) for i, part in enumerate(parts))


def _ahead(lessons: Iterator[Callable[[], Lesson]]) -> Iterator[Lesson]:
    """The lessons in order, made by one other thread while this one learns."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(make) for make in islice(lessons, AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(make) for make in islice(lessons, 1))


def _loss(logits: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
    label = functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
    if taught is None:
        return label
    return TEACHER * distance(logits, taught) + (1 - TEACHER) * label


def _groups(network: Collapsed) -> list[dict[str, Any]]:
    named: Mapping[str, Any] = dict(network.named_parameters())
    biases = [p for name, p in named.items() if name.startswith("bias.")]
    weights = [p for name, p in named.items() if not name.startswith("bias.") and name != "sharpness"]
    return [
        {"params": weights, "lr": RATE, "full_lr": RATE},
        {"params": biases, "lr": BIAS_RATE, "full_lr": BIAS_RATE},
        {"params": [network.sharpness], "lr": RATE / 30, "full_lr": RATE / 30},
    ]


def _schedule(lesson: Lesson, epochs: int) -> float:
    """Rate, as a share of the full one: up over the first batches, then down along a cosine."""
    done = lesson.epoch * lesson.batches + lesson.batch
    share = done / (epochs * lesson.batches)
    return min(1.0, (done + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
