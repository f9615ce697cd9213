"""What the network sees in an epoch: which recordings meet, which variation of each, which senses are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.encoding.encoder import with_taps
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.errors import BadInput
from snn_fusion.training.held_out import check_parts, first_generator, held_out, is_held

Rng = np.random.Generator
Ints = npt.NDArray[np.int64]
MISSING = -1


@dataclass(frozen=True)
class Samples:
    """`recording[sense]`: row of the sense's store for each sample, or MISSING; `label`: class index of each."""

    recording: dict[Sense, Ints]
    label: Ints

    def __len__(self) -> int:
        return len(self.label)

    def part(self, chosen: slice | npt.NDArray[Any]) -> Samples:
        return Samples({s: r[chosen] for s, r in self.recording.items()}, self.label[chosen])

    def only(self, sense: Sense) -> Samples:
        """The same samples with the other senses missing."""
        silent = np.full(len(self), MISSING)
        return Samples({s: r if s == sense else silent for s, r in self.recording.items()}, self.label)


@dataclass(frozen=True)
class TrainingData:
    """`fit` and `validation` hold the unvaried recordings; senses of a row with `joined` were joined by label alone."""

    stores: Mapping[Sense, SpikeStore]
    encoding: EncodingParams
    classes: tuple[str, ...]
    fit: Samples
    joined: npt.NDArray[np.bool_]
    validation: Samples

    @property
    def senses(self) -> tuple[Sense, ...]:
        return tuple(self.stores)

    def spikes(self, samples: Samples) -> dict[Sense, Spikes]:
        """The network's input for these samples; a sense that all of them miss is left out."""
        present = (s for s in self.senses if (samples.recording[s] != MISSING).any())
        return {s: with_taps(self.stores[s].take(samples.recording[s]), self.encoding) for s in present}

    def vary(self, samples: Samples, rng: Rng, lowest: int = 0) -> Samples:
        """Each recording replaced by one of its encoded variations (0: as it is), from `lowest` up."""
        varied = {}
        for sense, rows in samples.recording.items():
            most = self.encoding.copies.get(sense, 0)
            copies = rng.integers(min(lowest, most), most + 1, len(rows))
            varied[sense] = np.where(rows == MISSING, MISSING, rows + copies)
        return Samples(varied, samples.label)


def training_data(
    params: Params, stores: Mapping[Sense, SpikeStore], joined: Sequence[Row], single: Sequence[Row]
) -> TrainingData:
    """The training split, parted into fit and validation. Test recordings are never touched.

    `joined` are the rows of several senses; where there are none (one sense only) the `single` ones stand in.
    Validation recordings are a share of each class, or whole subjects where the split promises disjoint subjects.
    """
    rows = [row for row in (joined or single) if row.split == "train"]
    if not rows:
        raise BadInput("validated/joined.parquet", "no training recordings", "import more, or see data.split")
    classes = tuple(sorted({row.label for row in rows}))
    rng = first_generator(params)
    position = {
        sense: {path: i for i, (path, copy) in enumerate(zip(s.meta["path"], s.meta["copy"], strict=True)) if copy == 0}
        for sense, s in stores.items()
    }
    held = held_out(rows, params.data.validation_share, params.validation.disjoint_subjects, rng)
    check_parts(rows, held, tuple(stores), params)
    fit = [row for row in rows if not is_held(row, held)]
    senses = tuple(s for s in SENSES if s in stores and any(s in row.senses for row in rows))
    samples = _samples(fit, classes, senses, position)
    validation = _validation(rows, held, classes, senses, position, rng)
    is_joined = np.array([row.source == "joined" for row in fit])
    return TrainingData({s: stores[s] for s in senses}, params.encoding, classes, samples, is_joined, validation)


def epoch_samples(data: TrainingData, params: Params, epoch: int) -> Samples:
    """The samples of one epoch, a function of seed and epoch alone, so that a resumed run sees the same.

    Classes in equal shares; what was joined by label meets anew; a variation of each recording; senses missing in
    the share `sense_dropout`.
    """
    rng = np.random.default_rng([params.seed, 1, epoch])
    n, n_classes = params.training.recordings_per_epoch, len(data.classes)
    of_class = [np.flatnonzero(data.fit.label == c) for c in range(n_classes)]
    labels = rng.permutation(np.arange(n) % n_classes)
    chosen = np.array([rng.choice(of_class[c]) for c in labels])
    samples = data.vary(_meet_anew(data, data.fit.part(chosen), data.joined[chosen], rng), rng)
    return _drop_senses(samples, params.training.sense_dropout, rng)


def batches(samples: Samples, size: int) -> Iterator[Samples]:
    """Consecutive parts of `size` samples; the last may be smaller."""
    for start in range(0, len(samples), size):
        yield samples.part(slice(start, start + size))


def _samples(
    rows: Sequence[Row], classes: Sequence[str], senses: Sequence[Sense], position: Mapping[Sense, Mapping[str, int]]
) -> Samples:
    index = {label: i for i, label in enumerate(classes)}
    recording = {
        s: np.array([position[s][row.senses[s].path] if s in row.senses else MISSING for row in rows], np.int64)
        for s in senses
    }
    return Samples(recording, np.array([index[row.label] for row in rows], np.int64))


def _validation(
    rows: Sequence[Row],
    held: set[str],
    classes: Sequence[str],
    senses: Sequence[Sense],
    position: Mapping[Sense, Mapping[str, int]],
    rng: Rng,
) -> Samples:
    """Held-out recordings of every sense, joined by label where they came apart; every one of them at most once."""
    whole = [r for r in rows if r.source != "joined" and is_held(r, held)]
    parts = [_samples(whole, classes, senses, position)]
    for c, label in enumerate(classes):
        paths = {
            s: sorted(
                {
                    row.senses[s].path
                    for row in rows
                    if row.source == "joined" and row.label == label and s in row.senses
                }
                & held
            )
            for s in senses
        }
        n = max(len(p) for p in paths.values())
        columns = {}
        for s in senses:
            column = np.full(n, MISSING)
            order = rng.permutation(len(paths[s]))
            column[: len(order)] = [position[s][paths[s][i]] for i in order]
            columns[s] = column
        parts.append(Samples(columns, np.full(n, c)))
    recording = {s: np.concatenate([p.recording[s] for p in parts]).astype(np.int64) for s in senses}
    return Samples(recording, np.concatenate([p.label for p in parts]).astype(np.int64))


def _meet_anew(data: TrainingData, samples: Samples, joined: npt.NDArray[np.bool_], rng: Rng) -> Samples:
    """Senses that were joined by label alone meet another recording of that label."""
    recording = {s: rows.copy() for s, rows in samples.recording.items()}
    for sense, rows in recording.items():
        for c in range(len(data.classes)):
            pool = data.fit.recording[sense][data.joined & (data.fit.label == c)]
            pool = np.unique(pool[pool != MISSING])
            here = np.flatnonzero(joined & (samples.label == c) & (rows != MISSING))
            if len(pool) and len(here):
                rows[here] = rng.choice(pool, len(here))
    return Samples(recording, samples.label)


def _drop_senses(samples: Samples, share: float, rng: Rng) -> Samples:
    """In `share` of the samples only one sense (two times in three) or two remain, of those that are there."""
    senses = list(samples.recording)
    there = np.stack([samples.recording[s] != MISSING for s in senses])  # (senses, n)
    order = np.where(there, rng.random(there.shape), 2.0).argsort(0).argsort(0)  # those that are there come first
    keep = np.where(rng.random(len(samples)) < 2 / 3, 1, 2)
    keep = np.where(rng.random(len(samples)) < share, keep, len(senses))
    recording = {s: np.where(order[i] < keep, samples.recording[s], MISSING) for i, s in enumerate(senses)}
    return Samples(recording, samples.label)
