"""What a network is shown in a test: each batch of recordings at every level of noise, through every view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snn_fusion.benchmark.conditions import CONDITIONS, LEVELS, Condition, Level, View
from snn_fusion.benchmark.recordings import Job, Levels
from snn_fusion.benchmark.testset import Key
from snn_fusion.config import EncodingParams
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.encoder import with_taps
from snn_fusion.encoding.spikes import Spikes

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Presentation:
    """`rows` under one level of noise, through one view, with one sense `missing` or none.

    `base` are the spikes of each sense that is shown, len(rows) * steps rows, and `inputs` those with delay taps.
    """

    view: View
    level: Level
    missing: Sense | None
    rows: Sequence[Row]
    base: Mapping[Sense, Spikes]
    inputs: Mapping[Sense, Spikes]

    @property
    def conditions(self) -> list[Condition]:
        """What is measured by this: several conditions if they only differ in when the answer is read."""
        return [c for c in CONDITIONS if (c.level, c.missing) == (self.level, self.missing)]

    def labels(self, classes: Sequence[str]) -> Int64:
        """True class indices, (n,)."""
        return np.array([classes.index(row.label) for row in self.rows], np.int64)


def presentations(
    rows: Sequence[Row], spikes: Mapping[Job, Levels], singles: Mapping[Key, Row], params: EncodingParams
) -> Iterator[Presentation]:
    """Rows of the same senses at every level of noise: each sense alone and, if there are several, fused.

    Without noise the fused rows come again with each sense missing.
    """
    senses = list(rows[0].senses)
    for level in LEVELS:
        base = {s: Spikes.concatenate([spikes[s, row.senses[s]][level] for row in rows]) for s in senses}
        inputs = {sense: with_taps(one, params) for sense, one in base.items()}
        for sense in senses:
            alone = [singles[sense, row.senses[sense].path] for row in rows]
            yield Presentation(sense, level, None, alone, {sense: base[sense]}, {sense: inputs[sense]})
        if len(senses) > 1:
            yield Presentation("fused", level, None, rows, base, inputs)
            for missing in senses if level == "clean" else ():
                left = [sense for sense in senses if sense != missing]
                kept = ({s: one[s] for s in left} for one in (base, inputs))
                yield Presentation("fused", level, missing, rows, *kept)
