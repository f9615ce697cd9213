"""N-MNIST's `.bin`: 5 bytes an event (Orchard et al. 2015, doi:10.3389/fnins.2015.00437)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import Found, as_events, checked
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording

SIZE = (34, 34)
OVERFLOW_Y = 240  # not an event but a mark of the ATIS camera: 2^13 us have passed
OVERFLOW_US = 1 << 13


def read_nmnist(path: Path, size: tuple[int, int] | None = None) -> Events:
    """Read x, y, then one bit of polarity and 23 bits of time in us, big-endian; times are kept as they are.

    `size` is the sensor's width and height (default 34 x 34). Raises BadRecording if the file is empty, truncated,
    or holds an event outside the sensor or earlier than the one before.
    """
    data = np.fromfile(path, dtype=np.uint8)
    if len(data) % 5:
        raise BadRecording(path, f"truncated: {len(data)} bytes is not a multiple of 5")
    raw = data.reshape(-1, 5)
    time = raw[:, 2:].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1], np.int64)
    events = as_events(time & 0x7FFFFF, raw[:, 0], raw[:, 1], raw[:, 2] >> 7)
    marks = raw[:, 1] == OVERFLOW_Y
    remarks: tuple[str, ...] = ()
    if (size or SIZE)[1] <= OVERFLOW_Y and marks.any():
        events, remarks = _without_marks(events, marks)
    return checked(path, Found(events, None, remarks), size or SIZE)


def _without_marks(
    events: npt.NDArray[np.void], marks: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.void], tuple[str, ...]]:
    """Marks count the time on if the events' own times begin anew after them; if these go on, marks say nothing."""
    kept = events[~marks]
    if (np.diff(kept["t"]) < 0).any():
        events["t"] += np.cumsum(marks) * OVERFLOW_US
        return events[~marks], ()
    return kept, (f"{int(marks.sum())} overflow marks (row {OVERFLOW_Y}) were dropped: the times go on across them",)
