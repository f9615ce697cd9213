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
        """From a (rows, channels) array; non-zero is a spike."""
        rows, columns = np.nonzero(dense)
        counts = np.bincount(rows, minlength=dense.shape[0])
        indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        return cls(indptr, columns.astype(np.int32), dense.shape[1])

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

    def counts(self) -> Int32:
        """Spikes in each row, (rows,)."""
        return np.diff(self.indptr)

    def delayed(self, taps: Sequence[int], steps: int) -> Spikes:
        """Each recording (`steps` rows) again `d` steps later for each d of `taps`, on channels of its own.

        Channel c with the k-th tap becomes channel k * channels + c. What a delay pushes past the last step is lost.
        """
        indptr, index = _delay(self.indptr, self.index, np.asarray(taps, np.int32), steps, self.channels)
        return Spikes(indptr, index, self.channels * len(taps))


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
