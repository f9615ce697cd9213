"""How a recording is shown to Akida: its base spikes counted in windows of time, as small whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.encoding.spikes import Int32, Spikes

Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Presentation:
    """Recordings of `steps` steps; a window is `window` of them, and a count at most `cap` (4 bits).

    `channels`: base channels by sense, without delay taps: the windows do what the taps do. `frames` false: all
    windows side by side in one frame, for version 1.
    """

    steps: int
    window: int
    cap: int
    channels: Mapping[str, int]
    frames: bool = True

    @property
    def windows(self) -> int:
        return -(-self.steps // self.window)

    def as_meta(self) -> dict[str, Any]:
        """What `Presentation(**meta)` takes."""
        return asdict(self)


def input_name(sense: str) -> str:
    """As in the graph."""
    return f"input_{sense}"


def counts(
    spikes: Mapping[Any, Spikes],
    n: int,
    how: Presentation,
    shift: Mapping[Any, npt.NDArray[np.int64]] | None = None,
) -> dict[str, Counts]:
    """Base spikes of n recordings (n * steps rows a sense) -> input name: (n, T, C), T windows or one frame of all.

    A sense left out is silent. `shift`: steps by which each recording comes later, (n,); what leaves it is lost.
    """
    found = {}
    for sense, channels in how.channels.items():
        shape = (n, how.windows, channels)
        values = np.zeros(shape, np.uint8)
        if sense in spikes:
            late = np.zeros(n, np.int64) if shift is None else shift[sense]
            _count(spikes[sense].indptr, spikes[sense].index, how.steps, how.window, how.cap, late, values)
        found[input_name(sense)] = values if how.frames else values.reshape(n, 1, -1)
    return found


@njit(cache=True, nogil=True)
def _count(
    indptr: Int32, index: Int32, steps: int, window: int, cap: int, shift: npt.NDArray[np.int64], out: Counts
) -> None:
    for b in range(out.shape[0]):
        for step in range(steps):
            late = step + shift[b]
            if 0 <= late < steps:
                row = b * steps + step
                for k in range(indptr[row], indptr[row + 1]):
                    if out[b, late // window, index[k]] < cap:
                        out[b, late // window, index[k]] += 1
