"""Spikes as events: compressed sparse rows over (recording, step) and input channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Spikes:
    """Row r spikes on the channels `index[indptr[r]:indptr[r + 1]]`, strictly ascending.

    `indptr` int32 (rows + 1,), `index` int32 (spikes,); a recording of T steps is T consecutive rows.
    """

    indptr: Int32
    index: Int32
    channels: int

    @property
    def rows(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def empty(cls, rows: int, channels: int) -> Spikes:
        """No spikes: a missing sense."""
        return cls(np.zeros(rows + 1, np.int32), np.zeros(0, np.int32), channels)

    @classmethod
    def from_dense(cls, dense: npt.NDArray[np.bool_]) -> Spikes:
        """From a (rows, channels) array; true is a spike."""
        indptr, index = _compress(dense)
        return cls(indptr, index, dense.shape[1])

    @classmethod
    def concatenate(cls, parts: Sequence[Spikes]) -> Spikes:
        """Rows of all parts, in order; parts have the same channels."""
        offsets = np.cumsum([0] + [len(p.index) for p in parts])
        indptr = [np.zeros(1, np.int64)] + [p.indptr[1:] + o for p, o in zip(parts, offsets, strict=False)]
        return cls(
            np.concatenate(indptr).astype(np.int32),
            np.concatenate([p.index for p in parts]),
            parts[0].channels,
        )

    def dense(self) -> npt.NDArray[np.float32]:
        """(rows, channels) of 0 and 1."""
        out = np.zeros((self.rows, self.channels), np.float32)
        out[np.repeat(np.arange(self.rows), np.diff(self.indptr)), self.index] = 1
        return out

    def part(self, first: int, last: int) -> Spikes:
        """The rows first ... last - 1."""
        indptr = self.indptr[first : last + 1]
        return Spikes(indptr - indptr[0], self.index[indptr[0] : indptr[-1]], self.channels)

    def counts(self) -> Int32:
        """Spikes in each row, (rows,)."""
        return np.diff(self.indptr)

    def delayed(self, taps: Sequence[int], steps: int) -> Spikes:
        """Each recording (`steps` rows) again `d` steps later for each d of `taps`, on channels of its own.

        Channel c with the k-th tap becomes channel k * channels + c. What a delay pushes past the last step is lost.
        """
        indptr, index = _delay(self.indptr, self.index, np.asarray(taps, np.int32), steps, self.channels)
        return Spikes(indptr, index, self.channels * len(taps))


@njit(cache=True)  # not nogil: to have the lock back would take longer
def _compress(dense: npt.NDArray[np.bool_]) -> tuple[Int32, Int32]:
    rows, columns = dense.shape
    indptr = np.zeros(rows + 1, np.int32)
    for row in range(rows):
        count = 0
        for column in range(columns):
            count += 1 if dense[row, column] else 0
        indptr[row + 1] = indptr[row] + count
    index, at = np.empty(indptr[rows] + 1, np.int32), 0  # one more: each column is written before it is known to count
    for row in range(rows):
        for column in range(columns):
            index[at] = column
            at += 1 if dense[row, column] else 0
    return indptr, index[: indptr[rows]]


@njit(cache=True, nogil=True)
def _delay(indptr: Int32, index: Int32, taps: Int32, steps: int, channels: int) -> tuple[Int32, Int32]:
    rows = len(indptr) - 1
    out_indptr = np.zeros(rows + 1, np.int32)
    for row in range(rows):
        step = row % steps
        total = 0
        for tap in taps:
            if tap <= step:
                total += indptr[row - tap + 1] - indptr[row - tap]
        out_indptr[row + 1] = out_indptr[row] + total
    out = np.empty(out_indptr[rows], np.int32)
    for row in range(rows):
        step = row % steps
        at = out_indptr[row]
        for k in range(len(taps)):
            if taps[k] <= step:
                for i in range(indptr[row - taps[k]], indptr[row - taps[k] + 1]):
                    out[at] = index[i] + k * channels
                    at += 1
    return out_indptr, out


def side_by_side(parts: Sequence[Spikes]) -> Spikes:
    """The same rows of several sources as one: the channels of each come after those of the one before."""
    if len(parts) == 1:
        return parts[0]
    together, channels = parts[0], parts[0].channels
    for part in parts[1:]:
        indptr, index = _beside(together.indptr, together.index, part.indptr, part.index, channels)
        channels += part.channels
        together = Spikes(indptr, index, channels)
    return together


@njit(cache=True, nogil=True)
def _beside(indptr: Int32, index: Int32, other_indptr: Int32, other: Int32, offset: int) -> tuple[Int32, Int32]:
    out_indptr, out = indptr + other_indptr, np.empty(len(index) + len(other), np.int32)
    at = 0
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            out[at] = index[k]
            at += 1
        for k in range(other_indptr[row], other_indptr[row + 1]):
            out[at] = other[k] + offset
            at += 1
    return out_indptr, out
