"""Encoded recordings as a table, which is what a registered model takes: one row a recording, spikes as lists.

A sense has two columns, `<sense>_step` and `<sense>_channel`: its base spikes (before the delay taps) as events, in
any order. A sense without a column, or with empty lists, is silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("step", "channel")


def to_frame(recordings: Sequence[Mapping[Sense, Spikes]]) -> pd.DataFrame:
    """A row for each recording; `Spikes` are as `encoding.encoder.encode` gives them, T rows a recording."""
    import pandas as pd

    columns: dict[str, list[npt.NDArray[np.int64]]] = {}
    for sense in (s for s in SENSES if any(s in one for one in recordings)):
        events = [_events(one[sense]) if sense in one else np.zeros((2, 0), np.int64) for one in recordings]
        columns |= {f"{sense}_{part}": [e[k] for e in events] for k, part in enumerate(PARTS)}
    return pd.DataFrame(columns, index=range(len(recordings)))


def _events(spikes: Spikes) -> npt.NDArray[np.int64]:
    """(2, n): steps and channels."""
    return np.stack([np.repeat(np.arange(spikes.rows), spikes.counts()), spikes.index]).astype(np.int64)


def from_frame(frame: pd.DataFrame, sense: Sense, steps: int, channels: int) -> Spikes:
    """One sense's spikes, `len(frame) * steps` rows. A spike that is listed twice counts once.

    Raises BadInput naming the row and column: lists of unequal length, steps or channels that there are not.
    """
    parts = [_column(frame, f"{sense}_{part}") for part in PARTS]
    for row, (step, channel) in enumerate(zip(*parts, strict=True)):
        if len(step) != len(channel):
            problem = f"{len(step)} steps and {len(channel)} channels: a spike is one of each"
            raise BadInput(f"row {row}: {sense}_step, {sense}_channel", problem)
    lengths = [len(step) for step in parts[0]]
    step, channel = (np.concatenate([np.zeros(0, np.int64), *part]) for part in parts)
    rows = np.repeat(np.arange(len(frame)), lengths)
    _check(rows, step, steps, f"{sense}_step")
    _check(rows, channel, channels, f"{sense}_channel")
    spikes = np.unique((rows * steps + step) * channels + channel)
    counts = np.bincount(spikes // channels, minlength=len(frame) * steps)
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return Spikes(indptr, (spikes % channels).astype(np.int32), channels)


def _column(frame: pd.DataFrame, name: str) -> list[npt.NDArray[np.int64]]:
    if name not in frame:
        return [np.zeros(0, np.int64)] * len(frame)
    return [_whole_numbers(value, row, name) for row, value in enumerate(frame[name])]


def _whole_numbers(value: Any, row: int, name: str) -> npt.NDArray[np.int64]:
    if value is None or (isinstance(value, float) and np.isnan(value)):  # pandas' way of saying that there is none
        return np.zeros(0, np.int64)
    numbers = np.asarray(value)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise BadInput(f"row {row}: {name}", f"must be a list of whole numbers, not {str(value)[:60]!r}")
    return numbers.astype(np.int64)


def _check(rows: npt.NDArray[np.int64], values: npt.NDArray[np.int64], limit: int, name: str) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= limit))
    if len(wrong):
        where = f"row {rows[wrong[0]]}: {name}"
        raise BadInput(where, f"{values[wrong[0]]} is outside 0..{limit - 1}", "encode with the model's own parameters")
