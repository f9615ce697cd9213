"""What holds for the events of every camera: on the sensor, in order, and no jump in time that no sensor makes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import EVENT, MAX_EVENTS, MAX_SIDE, Events
from snn_fusion.errors import BadRecording

Size = tuple[int, int]
PAUSE_US = 1_000_000  # a camera sees noise all the time: a silence this long after its first events is suspicious
STALE_SHARE = 0.05  # events before such a pause, of all events, that are left over from before the recording
MAX_JUMP_US = 60_000_000  # no camera is silent that long, nor goes back
JUMP_REMEDY = "no camera is silent so long: cut the recording there, or remove the part"
MAX_STALE_SHARE = 0.2  # the same for jumps that cannot be a pause


class Found(NamedTuple):
    """Events as a file has them, the size of the sensor where it says it, and remarks."""

    events: npt.NDArray[np.void]
    size: Size | None
    remarks: tuple[str, ...] = ()


def as_events(t: object, x: object, y: object, p: object) -> npt.NDArray[np.void]:
    """Columns (n,) as one array (n,) of dtype EVENT; values must fit."""
    columns = [np.asarray(one) for one in (t, x, y, p)]
    events = np.empty(len(columns[0]), EVENT)
    for name, column in zip(("t", "x", "y", "p"), columns, strict=True):
        events[name] = column
    return events


def not_too_many(path: Path, n: int) -> None:
    """Raises BadRecording before memory for `n` events is taken."""
    if n > MAX_EVENTS:
        raise BadRecording(path, f"{n:,} events, more than {MAX_EVENTS:,}", "cut it into recordings")


def size_of(path: Path, found: Size | None, given: Size | None) -> Size:
    """The sensor's size by the file or by events_size. Raises BadRecording if both or neither say it."""
    size = found or given
    if size is None:
        remedy = "give it in the column events_size of recordings.csv, e.g. 640x480"
        raise BadRecording(path, "the file does not say the sensor's size", remedy)
    if found is not None and given is not None and found != given:
        problem = f"the file says {found[0]}x{found[1]}, recordings.csv {given[0]}x{given[1]}"
        raise BadRecording(path, problem, "correct or empty events_size")
    if not all(0 < side <= MAX_SIDE for side in size):
        problem = f"the header says the sensor has {size[0]}x{size[1]} pixels"
        raise BadRecording(path, problem, f"1 to {MAX_SIDE} a side can be read")
    return size


def checked(path: Path, found: Found, given: Size | None = None, own_clock: bool = False) -> Events:
    """The recording, without stale events at its beginning; what a file says of itself is checked.

    `own_clock`: times count from when the camera was switched on, so that the first event is set to 0. Raises
    BadRecording naming the field, the first wrong event and its value.
    """
    width, height = size_of(path, found.size, given)
    events, remarks = found.events, found.remarks
    if not len(events):
        dropped = f"; {'; '.join(remarks)}" if remarks else ""
        raise BadRecording(path, f"zero length: no events{dropped}")
    if stale := stale_events(events["t"]):
        remarks = (*remarks, dropped_events(events["t"], stale))
        events = events[stale:]
    for axis, limit in (("x", width), ("y", height)):
        if int(events[axis].max()) >= limit:
            first = int(np.argmax(events[axis] >= limit))
            problem = f"{axis}: event {first + stale} has {events[axis][first]}, outside the {width} x {height} sensor"
            raise BadRecording(path, problem, "" if found.size else "give another size in the column events_size")
    _check_times(path, events["t"], stale)
    if own_clock:
        events["t"] -= events["t"][0]
    return Events(events, width, height, remarks)


def stale_events(time: npt.NDArray[np.int64]) -> int:
    """How many events at the beginning were left in the camera from before: few of all, and far away in time."""
    early = time[: int(MAX_STALE_SHARE * len(time)) + 1]
    steps = early[1:] - early[:-1]
    share = np.arange(1, len(early)) / len(time)
    impossible = (steps > MAX_JUMP_US) | (steps < -PAUSE_US)
    stale = np.flatnonzero(impossible | ((steps > PAUSE_US) & (share <= STALE_SHARE)))
    return int(stale[-1]) + 1 if len(stale) else 0


def dropped_events(time: npt.NDArray[np.int64], stale: int) -> str:
    """What to say of the first `stale` events, which are left out."""
    gap = int(time[stale] - time[stale - 1])
    why = f"{_seconds(gap)} lie between them and the next" if gap > 0 else f"time goes back by {_seconds(-gap)}"
    return f"the first {stale} events were dropped: {why}"


def impossible_jump(time: npt.NDArray[np.int64]) -> tuple[int, str] | None:
    """The first event, of ascending ones, that comes later after the one before than any camera's would; and how."""
    far = np.flatnonzero(np.diff(time) > MAX_JUMP_US)
    if not len(far):
        return None
    n = int(far[0]) + 1
    return n, f"at {time[n]} us comes {_seconds(int(time[n] - time[n - 1]))} after the one before"


def _check_times(path: Path, time: npt.NDArray[np.int64], stale: int) -> None:
    steps = time[1:] - time[:-1]
    if len(steps) and steps.min() < 0:
        n = int(np.argmax(steps < 0)) + 1
        raise BadRecording(path, f"t: event {n + stale} at {time[n]} us comes after one at {time[n - 1]} us")
    if time[0] < 0:
        raise BadRecording(path, f"t: event {stale} is at {time[0]} us, before the clock's zero")
    if jump := impossible_jump(time):
        raise BadRecording(path, f"t: event {jump[0] + stale} {jump[1]}", JUMP_REMEDY)


def _seconds(step: int) -> str:
    return f"{step / 1e6:,.6g} s"
