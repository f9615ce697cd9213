"""What is timed: sizes, weights and spikes, the same for every library. Needs numpy alone, so that all can read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BETA, READOUT_BETA, THRESHOLD, SLOPE = 0.9, 0.9, 1.0, 25.0
DENSITY = 0.03
# Spread of the membrane potential's drive, in thresholds; some 4 % of the hidden neurons then spike in a step.
DRIVE = 0.45
SEED = 0


@dataclass(frozen=True)
class Workload:
    """A LIF layer and a leaky readout on `batch` recordings of `steps` steps; `density`: spikes a channel and step.

    `over_loop` and `over_best`: how many times faster than snnTorch's loop and than the fastest peer is wanted.
    """

    name: str
    title: str
    batch: int
    steps: int
    inputs: int
    neurons: int
    outputs: int
    density: float = DENSITY
    recurrent: bool = False
    training: bool = True
    over_loop: float = 1.0
    over_best: float = 1.0


_WIDE = Workload("train-700", "training step, batch 128, T 100, 700-256-20", 128, 100, 700, 256, 20)
_SMALL = Workload("train-588", "training step, batch 64, T 50, 588-128-10", 64, 50, 588, 128, 10)
TABLE = (
    replace(_WIDE, over_loop=12, over_best=6),
    replace(
        _WIDE,
        name="train-recurrent",
        title="the same with 256 x 256 recurrence",
        recurrent=True,
        over_loop=4,
        over_best=2.5,
    ),
    replace(_SMALL, over_loop=12, over_best=4),
    replace(
        _SMALL,
        name="infer-1",
        title="inference of one sample, T 50, 588-128-10",
        batch=1,
        training=False,
        over_loop=150,
        over_best=20,
    ),
    replace(_SMALL, name="infer-64", title="inference, batch 64", training=False, over_loop=18, over_best=5),
)
WIDE, RECURRENT, SMALL = TABLE[:3]


@dataclass(frozen=True)
class Problem:
    """A workload's arrays. Row r = recording * steps + step spikes on `index[indptr[r]:indptr[r + 1]]`.

    Weights are (source, target), float32; `recurrent` is empty where there is none; `labels` (batch,).
    """

    work: Workload
    indptr: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    labels: Ints
    weights: Float32
    recurrent: Float32
    readout: Float32

    def dense(self, time_first: bool) -> Float32:
        """0 and 1, (T, B, C) or (B, T, C)."""
        work = self.work
        rows = np.zeros((work.batch * work.steps, work.inputs), np.float32)
        rows[np.repeat(np.arange(len(rows)), np.diff(self.indptr)), self.index] = 1
        shaped = rows.reshape(work.batch, work.steps, work.inputs)
        return np.ascontiguousarray(shaped.swapaxes(0, 1)) if time_first else shaped


def make_problem(work: Workload, seed: int = SEED) -> Problem:
    """Independent spikes, normal weights; DRIVE and the density decide how much the hidden layer spikes."""
    rng = np.random.default_rng(seed)
    spikes = rng.random((work.batch * work.steps, work.inputs), np.float32) < work.density
    rows, columns = np.nonzero(spikes)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(spikes)))))

    def normal(source: int, target: int, spread: float) -> Float32:
        return (rng.standard_normal((source, target)) * spread).astype(np.float32)

    drive = DRIVE / (work.density * work.inputs) ** 0.5
    side = work.neurons if work.recurrent else 0
    return Problem(
        work,
        indptr.astype(np.int32),
        columns.astype(np.int32),
        rng.integers(0, work.outputs, work.batch),
        normal(work.inputs, work.neurons, drive),
        normal(side, side, 0.2 / work.neurons**0.5),
        normal(work.neurons, work.outputs, 1 / work.neurons**0.5),
    )


def save(problem: Problem, file: Path) -> None:
    arrays = {name: array for name, array in vars(problem).items() if name != "work"}
    np.savez(file, work=json.dumps(asdict(problem.work)), **arrays)


def load(file: Path) -> Problem:
    with np.load(file, allow_pickle=False) as arrays:
        found = dict(arrays)
    return Problem(Workload(**json.loads(str(found.pop("work")))), **found)
