"""Event camera files through faery: AEDAT4, Prophesee EVT2/EVT3 (.raw) and DAT, Event Stream (.es)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.data.aedat import aedat_times
from snn_fusion.data.events import check_events
from snn_fusion.data.prophesee import dat_times, raw_times
from snn_fusion.data.recording import EVENT, MAX_SIDE, Events
from snn_fusion.errors import BadRecording

UNKNOWN = (65534, 65534)  # what faery is told to report as the size when the file has none
RAW_TIMES = {".raw": raw_times, ".dat": dat_times, ".aedat4": aedat_times}
# Event Stream 2: a byte of time and polarity with 4 bytes of place, or a byte of time alone. By the type of stream.
_ES_EVENTS = {
    1: re.compile(rb"(?:[\xfe\xff]|[^\xfe\xff].{4})*+", re.DOTALL),
    2: re.compile(rb"(?:[\xfc-\xff]|[^\xfc-\xff].{4})*+", re.DOTALL),
}
_ES_HEADER = 20
_stderr = threading.Lock()


def read_camera(path: Path, size: tuple[int, int] | None = None) -> Events:
    """Read an event camera's own file; the camera's clock is set to 0 at the first event.

    `size` (width, height) is needed where the file does not say. Raises BadRecording if the file is empty, cut
    short, not of its format, larger than a sensor can be, or holds an event outside the sensor or earlier than the
    one before.
    """
    data = path.read_bytes()
    if not data:
        raise BadRecording(path, "zero length: the file is empty")
    suffix = path.suffix.lower()
    times = RAW_TIMES[suffix](path, data) if suffix in RAW_TIMES else None
    if suffix == ".es":
        _check_event_stream(path, data)
    del data
    width, height, events = _through_faery(path, size)
    if times is not None and len(events):
        if len(times) != len(events):
            raise BadRecording(path, f"x: {len(times) - len(events)} events lie outside the {width} x {height} sensor")
        if times[0] < 0:
            raise BadRecording(path, f"t: event 0 is at {times[0]} us, before the clock's zero")
        events["t"] = times
    check_events(path, events, width, height)
    events["t"] -= events["t"][0]
    return Events(events, width, height)


def _through_faery(path: Path, size: tuple[int, int] | None) -> tuple[int, int, npt.NDArray[np.void]]:
    import faery  # takes 0.3 s

    with _panics_unseen():
        try:
            stream = faery.events_stream_from_file(path, dimensions_fallback=size or UNKNOWN)
            width, height = stream.dimensions()
            _check_size(path, (width, height), size)
            packets = [packet[["t", "x", "y", "on"]] for packet in stream]
        except (KeyboardInterrupt, SystemExit, MemoryError, BadRecording):
            raise
        except BaseException as error:  # a damaged file can also make faery panic, which is no Exception
            raise BadRecording(path, f"not readable as {path.suffix}: {error}") from error
    events = np.empty(sum(map(len, packets)), EVENT)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        events[ours] = np.concatenate([packet[theirs] for packet in packets]) if packets else 0
    return width, height, events


def _check_size(path: Path, found: tuple[int, int], given: tuple[int, int] | None) -> None:
    if found == UNKNOWN:
        remedy = "give it in the column events_size, e.g. 640x480"
        raise BadRecording(path, "the file does not say the sensor's size", remedy)
    if given is not None and given != found:
        problem = f"the file says {found[0]}x{found[1]}, recordings.csv {given[0]}x{given[1]}"
        raise BadRecording(path, problem, "mend or empty events_size")
    if not all(0 < side <= MAX_SIDE for side in found):
        problem = f"the header says the sensor has {found[0]}x{found[1]} pixels"
        raise BadRecording(path, problem, f"1 to {MAX_SIDE} a side can be read")


@contextmanager
def _panics_unseen() -> Iterator[None]:
    """Keep what a panic of faery writes to file descriptor 2 off the terminal; all else arrives there afterwards."""
    with _stderr, tempfile.TemporaryFile() as kept:
        try:
            real = os.dup(2)
        except OSError:  # it is closed, so nothing is printed
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(kept.fileno(), 2)
        try:
            yield
            kept.seek(0)
            while text := kept.read(1 << 16):
                os.write(real, text)
        finally:
            os.dup2(real, 2)
            os.close(real)


def _check_event_stream(path: Path, data: bytes) -> None:
    """Raise BadRecording if an Event Stream file ends in the middle of an event."""
    if len(data) < _ES_HEADER or data[15] not in _ES_EVENTS:
        return  # faery says what is wrong
    whole = _ES_EVENTS[data[15]].match(data, _ES_HEADER)
    if whole is not None and (rest := len(data) - whole.end()):
        raise BadRecording(path, f"truncated: {rest} bytes of a 5-byte event at the end")
