"""What holds for the events of every camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadRecording


def check_events(path: Path, events: npt.NDArray[np.void], width: int, height: int) -> None:
    """Raises BadRecording naming the field, the first wrong event and its value."""
    if not len(events):
        raise BadRecording(path, "zero length: no events")
    for axis, limit in (("x", width), ("y", height)):
        if int(events[axis].max()) >= limit:
            first = int(np.argmax(events[axis] >= limit))
            raise BadRecording(
                path, f"{axis}: event {first} has {events[axis][first]}, outside the {width} x {height} sensor"
            )
    time = events["t"]
    if len(time) > 1 and (back := time[1:] < time[:-1]).any():
        first = int(np.argmax(back)) + 1
        raise BadRecording(path, f"t: event {first} at {time[first]} us comes after one at {time[first - 1]} us")
