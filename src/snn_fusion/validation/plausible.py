"""Whether labels can be right and clocks can agree: what no look at a single recording shows.

A cheap reference model learns the labels of each source, split and sense from plain features. Where it cannot tell
them better than chance, the labels are not those of the recordings; where it takes one class for another and back, they
have been exchanged. In recordings of several senses, everything should set in at about the same time.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from snn_fusion.data.manifest import Row, load, load_together
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.validation.features import features, onset_s
from snn_fusion.validation.reference_model import Floats, Ints, cross_validated, predict
from snn_fusion.workers import worker_pool

T = TypeVar("T")
Job = tuple[Row, tuple[Sense, ...]]
MOST = 60  # recordings of a source, split, sense and label that are looked at
MOST_JOINED = 200  # recordings of a source that have several senses
CHUNK, WORTH_A_POOL = 50, 1500  # recordings a task; below, starting processes takes longer than the work
SIGMA, MARGIN = 3.0, 0.1  # an accuracy is no better than chance within both
TAKEN, KEPT, FEWEST = 0.5, 0.2, 5  # a class is exchanged: share taken for the other, still right; recordings
FEWEST_JOINED = 5


@dataclass(frozen=True)
class LabelTest:
    """How well a reference model tells the labels of `n` recordings, learnt as `learnt` says.

    `chance` is the share of the commonest label; `exchanged` are (label, what the model takes its recordings for).
    """

    sense: Sense
    source: str
    split: str
    learnt: str
    n: int
    classes: int
    accuracy: float
    chance: float
    exchanged: tuple[tuple[str, str], ...] = ()

    @property
    def limit(self) -> float:
        """Accuracy up to which the labels are in doubt."""
        return self.chance + max(SIGMA * float(np.sqrt(self.chance * (1 - self.chance) / self.n)), MARGIN)

    @property
    def doubtful(self) -> bool:
        return self.accuracy <= self.limit

    def __str__(self) -> str:
        where = f"labels of {self.source}, {self.sense}, {self.split} split"
        told = (
            f"a reference model {self.learnt} is right on {self.accuracy:.1%} of {self.n} recordings of "
            f"{self.classes} classes, and chance is {self.chance:.1%}"
        )
        if self.doubtful:
            return f"{where}: no better than chance: {told}; are they those of these recordings?"
        pairs = ", ".join(f"{label!r} is taken for {other!r}" for label, other in self.exchanged)
        return f"{where}: exchanged? {pairs}: {told}"


@dataclass(frozen=True)
class Offset:
    """By how much `later` sets in after `earlier` in recordings of both: median and spread (quartiles apart), s.

    `typical` is the median of the difference's size, whatever its sign.
    """

    source: str
    earlier: Sense
    later: Sense
    n: int
    median: float
    spread: float
    typical: float
    allowed: float

    @property
    def apart(self) -> bool:
        return self.typical > self.allowed

    def __str__(self) -> str:
        return (
            f"clocks of {self.source}: {self.later} sets in {self.median:.3g} s after {self.earlier} (median of "
            f"{self.n} recordings; quartiles {self.spread:.3g} s apart), allowed {self.allowed:g} s "
            "(validation.max_offset_s): do their times have one origin?"
        )


def label_tests(root: Path, rows: Sequence[Row]) -> list[LabelTest]:
    """Every source, split and sense with enough recordings: within the split, and learnt from the training split."""
    groups: dict[tuple[Sense, str, str], list[Row]] = defaultdict(list)
    for sense in SENSES:
        for row in rows:
            if row.has(sense):
                groups[sense, row.source, row.split].append(row)
    chosen = {key: _some_of_each(of) for key, of in groups.items()}
    jobs: list[Job] = [(row, (sense,)) for (sense, _, _), of in chosen.items() for row in of]
    found = iter(_over_cores(root, jobs, _features))
    values = {key: [next(found) for _ in of] for key, of in chosen.items()}
    tests: list[LabelTest] = []
    for (sense, source, split), of in sorted(chosen.items()):
        here = _Group.of(of, values[sense, source, split], sense)
        tests += here.within(sense, source, split)
        if split == "test" and (sense, source, "train") in chosen:
            tests += _Group.of(chosen[sense, source, "train"], values[sense, source, "train"], sense).onto(
                here, sense, source
            )
    return [test for test in tests if test.limit <= (1 + test.chance) / 2]  # with fewer recordings nothing is shown


def offsets(root: Path, rows: Sequence[Row], allowed: float) -> list[Offset]:
    """Every source and pair of senses with enough recordings of both."""
    sources: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if len(row.senses) > 1:
            sources[row.source].append(row)
    chosen = {name: sorted(of, key=_order)[:MOST_JOINED] for name, of in sorted(sources.items())}
    jobs = [(row, _senses(row)) for of in chosen.values() for row in of]
    found = iter(_over_cores(root, jobs, _onsets))
    measured = {name: [dict(zip(_senses(row), next(found), strict=True)) for row in of] for name, of in chosen.items()}
    return [one for name, onsets in measured.items() for one in _pairs(name, onsets, allowed)]


def _pairs(source: str, onsets: Sequence[Mapping[Sense, float]], allowed: float) -> Iterator[Offset]:
    for first, second in combinations(SENSES, 2):
        apart = np.array([one[second] - one[first] for one in onsets if first in one and second in one])
        apart = apart[np.isfinite(apart)]
        if len(apart) < FEWEST_JOINED:
            continue
        low, median, high = (float(v) for v in np.quantile(apart, [0.25, 0.5, 0.75]))
        pair = (first, second) if median >= 0 else (second, first)
        typical = float(np.median(np.abs(apart)))
        yield Offset(source, *pair, len(apart), abs(median), high - low, typical, allowed)


@dataclass(frozen=True)
class _Group:
    """Recordings of one sense, source and split: features (n, d), class index (n,), names and subjects."""

    values: Floats
    labels: Ints
    names: tuple[str, ...]
    subjects: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], values: Sequence[Floats], sense: Sense) -> _Group:
        """Those whose features are of the commonest size: others have other channels."""
        sizes = Counter(len(one) for one in values)
        size = max(sizes, key=lambda one: (sizes[one], one), default=0)
        pairs = [(row, one) for row, one in zip(rows, values, strict=True) if len(one) == size]
        names = tuple(sorted({row.label for row, _ in pairs}))
        index = {name: i for i, name in enumerate(names)}
        stacked = np.stack([one for _, one in pairs]) if pairs else np.zeros((0, size))
        labels = np.array([index[row.label] for row, _ in pairs], np.int64)
        return cls(stacked, labels, names, tuple(row.senses[sense].subject for row, _ in pairs))

    def within(self, sense: Sense, source: str, split: str) -> Iterator[LabelTest]:
        """Learnt from the rest of the split, by other subjects where there are several."""
        counts = np.bincount(self.labels, minlength=1)
        if len(self.names) < 2 or counts.min() < 2:
            return
        answers = cross_validated(self.values, self.labels, self.subjects, len(self.names))
        yield self._test(answers, self.names, sense, source, split, "that learnt from the others of the split")

    def onto(self, test: _Group, sense: Sense, source: str) -> Iterator[LabelTest]:
        """Learnt from this group, on the recordings of another."""
        if len(self.names) < 2 or not len(test.labels) or self.values.shape[1] != test.values.shape[1]:
            return
        answers = predict(self.values, self.labels, test.values, len(self.names))
        yield test._test(answers, self.names, sense, source, "test", "that learnt from the training split")

    def _test(
        self, answers: Ints, names: tuple[str, ...], sense: Sense, source: str, split: str, learnt: str
    ) -> LabelTest:
        """`answers` are indices into `names`, which may differ from this group's own."""
        truth = np.array([names.index(self.names[k]) if self.names[k] in names else -1 for k in self.labels])
        chance = float(np.bincount(self.labels).max() / len(self.labels))
        right, exchanged = float((answers == truth).mean()), _exchanged(truth, answers, names)
        return LabelTest(sense, source, split, learnt, len(truth), len(names), right, chance, exchanged)


def _exchanged(truth: Ints, answers: Ints, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Classes that are taken for another one of them, and that one for another: a closed ring of two or more."""
    taken = {}
    for k in range(len(names)):
        of = answers[truth == k]
        if len(of) >= FEWEST:
            shares = np.bincount(of, minlength=len(names)) / len(of)
            other = int(shares.argmax())
            if other != k and shares[other] >= TAKEN and shares[k] <= KEPT:
                taken[k] = other
    while odd := set(taken) - set(taken.values()) | {k for k, other in taken.items() if other not in taken}:
        taken = {k: other for k, other in taken.items() if k not in odd}
    return tuple((names[k], names[other]) for k, other in sorted(taken.items()))


def _some_of_each(rows: Sequence[Row]) -> list[Row]:
    labels: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_order):
        labels[row.label].append(row)
    return [row for _, of in sorted(labels.items()) for row in of[:MOST]]


def _order(row: Row) -> tuple[int, str]:
    """As good as random, and the same in any order of the rows."""
    return zlib.crc32(row.id.encode()), row.id


def _senses(row: Row) -> tuple[Sense, ...]:
    return tuple(s for s in SENSES if row.has(s))


def _over_cores(root: Path, jobs: Sequence[Job], work: Callable[[Path, Sequence[Job]], list[T]]) -> list[T]:
    """What `work` finds of each job, in order."""
    chunks = [jobs[k : k + CHUNK] for k in range(0, len(jobs), CHUNK)]
    if len(jobs) < WORTH_A_POOL:
        return [one for chunk in chunks for one in work(root, chunk)]
    with worker_pool(len(chunks)) as pool:
        return [one for part in pool.map(partial(work, root), chunks) for one in part]


def _features(root: Path, jobs: Sequence[Job]) -> list[Floats]:
    return [features(load(root, row.senses[sense], sense)) for row, (sense,) in jobs]


def _onsets(root: Path, jobs: Sequence[Job]) -> list[list[float]]:
    """Of each sense of a recording, on the recording's own clock."""
    read = (load_together(root, {sense: row.senses[sense] for sense in senses}) for row, senses in jobs)
    return [[onset_s(signal) for signal in signals.values()] for signals in read]
