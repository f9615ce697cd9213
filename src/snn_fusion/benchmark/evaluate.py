"""A network on a set of recordings, under every condition: each sense alone, and all senses fused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from snn_fusion.benchmark.conditions import CONDITIONS, VIEWS, View
from snn_fusion.benchmark.operations import Tally, connections, static, workload
from snn_fusion.benchmark.presentations import Presentation, presentations
from snn_fusion.benchmark.recordings import Job, Levels, kept_batches
from snn_fusion.benchmark.statistics import wilson
from snn_fusion.benchmark.testset import Key, batches, check_labels, fused_rows, only_senses, single_rows
from snn_fusion.config import EncodingParams
from snn_fusion.data.dataset import JOINED
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.network.fusion import decide
from snn_fusion.network.graph import Graph
from snn_fusion.network.spike_train import SpikeTrain

BATCH = 256
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
# Called with recordings done and recordings in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Answers:
    """What one view answered under one condition: ids, true and answered class index, each (n,), ordered by id."""

    ids: tuple[str, ...]
    labels: Int64
    predictions: Int64

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        right: npt.NDArray[np.bool_] = self.labels == self.predictions
        return right

    def accuracy(self) -> dict[str, float]:
        """value, and the Wilson 95 % interval low to high, of n recordings."""
        n, right = len(self.ids), int(self.correct.sum())
        low, high = wilson(right, n)
        return {"value": right / n, "low": low, "high": high, "n": n}


@dataclass(frozen=True)
class Example:
    """One recording with what it set off: base spikes of its senses, layers (T, neurons), readout (T, classes)."""

    row: Row
    inputs: Mapping[Sense, Spikes]
    layers: Mapping[str, Float32]
    potential: Float32
    prediction: int


@dataclass(frozen=True)
class Evaluation:
    """Answers by (condition, view); what the clean runs cost; one example recording.

    `rows` are the distinct single-sense recordings, `joined` says how many fused rows were joined by label.
    """

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    joined: int
    answers: Mapping[tuple[str, View], Answers]
    by_step: Mapping[View, list[float]]  # clean accuracy if the answer is read after each step
    operations: Mapping[View, dict[str, Any]]
    static: dict[str, Any]
    example: Example

    @property
    def accuracy(self) -> dict[str, dict[str, dict[str, float]]]:
        """accuracy[condition][view] = {value, low, high, n}; a view that the data cannot give is absent."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for (condition, view), answers in self.answers.items():
            found.setdefault(condition, {})[view] = answers.accuracy()
        return found

    def confusion(self, view: View) -> Int64:
        """Clean answers counted, (classes, classes): rows what was recorded, columns what was answered."""
        answers, n = self.answers["clean", view], len(self.classes)
        return np.bincount(answers.labels * n + answers.predictions, minlength=n * n).reshape(n, n)


def evaluate_rows(
    graph: Graph,
    rows: Sequence[Row],
    root: Path,
    seed: int,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Evaluation:
    """Test `graph` on `rows`, whose files lie below `root`; their split is not looked at.

    Each sense alone is tested on every distinct recording of it. The fused answer is tested on the rows that have
    several senses and on joins by label of the others (`fused_rows`). `seed` draws joins and noise; the order of
    `rows` changes nothing. Each recording is read and encoded once. Raises BadInput for labels that the network does
    not know, BadRecordings listing all damaged recordings.
    """
    tested = TestSet.of(graph, rows, seed)
    runs = _Runs(graph, tested.singles, tested.joined)
    tested.each_batch(root, graph.encoding, seed, runs.batch, progress, cache)
    return runs.evaluation()


@dataclass(frozen=True)
class TestSet:
    """Batches of recordings that share their senses, and each single sense's row by its file."""

    batches: Sequence[Sequence[Row]]
    singles: Mapping[Key, Row]
    joined: int

    @classmethod
    def of(cls, graph: Graph, rows: Sequence[Row], seed: int) -> Self:
        """What of `rows` the network can sense, and joins by label. Raises BadInput for labels it does not know."""
        check_labels(rows, graph.classes)
        rows = only_senses(rows, graph.network.senses)
        fused, singles = fused_rows(rows, seed), single_rows(rows)
        return cls(batches(fused, singles, BATCH), singles, sum(row.source == JOINED for row in fused))

    def each_batch(
        self,
        root: Path,
        params: EncodingParams,
        seed: int,
        use: Callable[[Sequence[Row], Mapping[Job, Levels]], None],
        progress: Progress | None = None,
        cache: Path | None = None,
    ) -> None:
        """Hand each batch's spikes to `use`. Raises BadRecordings listing all damaged recordings, at the end."""
        damaged, done = list[BadInput](), 0
        total = sum(len(row.senses) for batch in self.batches for row in batch)
        for batch, (spikes, bad) in zip(
            self.batches, kept_batches(self.batches, root, params, seed, cache), strict=True
        ):
            damaged += bad
            if not damaged:  # else only to find the others
                use(batch, spikes)
            done += sum(len(row.senses) for row in batch)
            if progress:
                progress(done, total)
        if damaged:
            distinct = {str(one): one for one in damaged}  # a file is read again for each sense that shares its window
            raise BadRecordings(root, list(distinct.values()), "repair the files, or remove them from the folder")


@dataclass
class _Runs:
    """Runs batches and gathers their answers."""

    graph: Graph
    singles: Mapping[Key, Row]
    joined: int
    answers: dict[tuple[str, View], list[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(list))
    right: dict[View, list[npt.NDArray[np.bool_]]] = field(default_factory=lambda: defaultdict(list))
    tallies: dict[View, Tally] = field(default_factory=dict)
    example: Example | None = None

    def batch(self, rows: Sequence[Row], spikes: Mapping[Job, Levels]) -> None:
        """Run rows of the same senses in all that they are shown in."""
        for shown in presentations(rows, spikes, self.singles, self.graph.encoding):
            if shown.level == "clean" and shown.missing is None:
                self._clean(shown, spikes)
            else:
                potential = self.graph.network.run(shown.inputs, len(shown.rows)).potential
                self._record(shown.conditions[0].name, shown.view, shown.rows, potential[:, -1])

    def _clean(self, shown: Presentation, spikes: Mapping[Job, Levels]) -> None:
        network, steps, n = self.graph.network, self.graph.encoding.steps, len(shown.rows)
        with torch.no_grad():
            readout, layers = network(shown.inputs, n)
        potential, view, rows = readout.numpy(), shown.view, shown.rows
        for condition in shown.conditions:
            self._record(condition.name, view, rows, potential[:, condition.step(steps)])
        self.right[view].append(decide(potential) == self._labels(rows)[:, None])
        self.tallies.setdefault(view, Tally(steps)).add(n, shown.inputs, layers)
        if self.example is None or len(rows[0].senses) > len(self.example.row.senses):
            self.example = self._pick_example(rows, spikes, layers, potential)

    def _record(self, condition: str, view: View, rows: Sequence[Row], potential: Float32) -> None:
        answered = zip((row.id for row in rows), self._labels(rows).tolist(), decide(potential).tolist(), strict=True)
        self.answers[condition, view] += answered

    def _labels(self, rows: Sequence[Row]) -> Int64:
        return np.array([self.graph.classes.index(row.label) for row in rows], np.int64)

    def _pick_example(
        self,
        rows: Sequence[Row],
        spikes: Mapping[Job, Levels],
        layers: Mapping[str, SpikeTrain],
        potential: Float32,
    ) -> Example:
        """The first that is answered rightly, else the first."""
        predictions = decide(potential[:, -1])
        i = int(np.argmax(predictions == self._labels(rows)))
        inputs = {sense: spikes[sense, ref]["clean"] for sense, ref in rows[i].senses.items()}
        steps = self.graph.encoding.steps
        fired = {k: v.as_events().part(i * steps, (i + 1) * steps).dense() for k, v in layers.items()}
        return Example(rows[i], inputs, fired, potential[i], int(predictions[i]))

    def evaluation(self) -> Evaluation:
        network = self.graph.network
        wires = connections(network)
        neurons = {name: network.params.branch[name] for name in network.senses} | {"joint": network.params.joint}
        order = [(c.name, view) for c in CONDITIONS for view in VIEWS if (c.name, view) in self.answers]
        views = [view for view in VIEWS if view in self.tallies]
        assert self.example is not None  # there is at least one batch
        return Evaluation(
            self.graph.classes,
            tuple(self.singles.values()),
            self.joined,
            {key: _answers(self.answers[key]) for key in order},
            {view: np.concatenate(self.right[view]).mean(axis=0).tolist() for view in views},
            {view: workload(self.tallies[view], wires, neurons) for view in views},
            static(network, wires),
            self.example,
        )


def _answers(found: Sequence[tuple[str, int, int]]) -> Answers:
    ids, labels, predictions = zip(*sorted(found), strict=True)
    return Answers(ids, np.array(labels, np.int64), np.array(predictions, np.int64))
