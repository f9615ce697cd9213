"""Event camera files: iniVation's AEDAT, Prophesee's .raw and .dat, Event Stream (.es)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.data.aedat import MAGIC, aedat_times
from snn_fusion.data.aedat_older import read_aedat2, read_aedat3
from snn_fusion.data.contents import kind_of
from snn_fusion.data.events import Found, Size, as_events, checked, not_too_many
from snn_fusion.data.prophesee import read_dat, read_raw
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording

UNKNOWN = (65534, 65534)  # what faery is told to report as the size when the file has none
# Event Stream 2: a byte of time and polarity with 4 bytes of place, or a byte of time alone. By the type of stream.
_ES_EVENTS = {
    1: re.compile(rb"(?:[\xfe\xff]|[^\xfe\xff].{4})*+", re.DOTALL),
    2: re.compile(rb"(?:[\xfc-\xff]|[^\xfc-\xff].{4})*+", re.DOTALL),
}
_ES_HEADER = 20
_stderr = threading.Lock()


def read_camera(path: Path, size: Size | None = None) -> Events:
    """Read an event camera's own file; the camera's clock is set to 0 at the first event.

    `size` (width, height) is needed where the file does not say. Raises BadRecording if the file is empty, cut
    short, not of its format, larger than a sensor can be, or holds an event outside the sensor, earlier than the one
    before, or later than any pause of a camera.
    """
    data = path.read_bytes()
    if not data:
        raise BadRecording(path, "zero length: the file is empty")
    return checked(path, _reader(path, data)(path, data, size), size, own_clock=True)


def _reader(path: Path, data: bytes) -> Callable[[Path, bytes, Size | None], Found]:
    suffix = path.suffix.lower()
    if suffix == ".raw":
        return lambda path, data, size: read_raw(path, data)
    if suffix == ".dat":
        return lambda path, data, size: read_dat(path, data)
    if suffix == ".es":
        return _read_es
    if data.startswith(MAGIC):
        return _read_aedat4
    if data.startswith(b"#!AER-DAT3."):
        return read_aedat3
    if data.startswith((b"#!AER-DAT2.", b"#!AER-DAT1.")):
        return read_aedat2
    holds = f"the file holds {kind}" if (kind := kind_of(data[:16])) else f"begins with {data[:14]!r}"
    raise BadRecording(path, f"not readable as {suffix}: {holds}", "AEDAT begins with #!AER-DAT and its version")


def _read_aedat4(path: Path, data: bytes, size: Size | None) -> Found:
    times = aedat_times(path, data)
    found = _through_faery(path, size)
    if len(times) != len(found.events):
        outside = len(times) - len(found.events)
        raise BadRecording(path, f"x: {outside} events lie outside the {found.size} sensor")
    found.events["t"] = times
    return found


def _read_es(path: Path, data: bytes, size: Size | None) -> Found:
    _check_event_stream(path, data)
    return _through_faery(path, size)


def _through_faery(path: Path, size: Size | None) -> Found:
    import faery  # takes 0.3 s

    kind = "aedat" if path.suffix.lower().startswith(".aedat") else "es"
    with _panics_unseen():
        try:
            stream = faery.events_stream_from_file(path, dimensions_fallback=size or UNKNOWN, file_type=kind)
            dimensions = stream.dimensions()
            packets, total = [], 0
            for packet in stream:
                packets.append(packet[["t", "x", "y", "on"]])
                total += len(packet)
                not_too_many(path, total)
        except (KeyboardInterrupt, SystemExit, MemoryError, BadRecording):
            raise
        except BaseException as error:  # a damaged file can also make faery panic, which is no Exception
            raise BadRecording(path, f"not readable as {path.suffix}: {error}") from error
    columns: list[npt.NDArray[np.generic]] = [
        np.concatenate([packet[name] for packet in packets]) if packets else np.zeros(0)
        for name in ("t", "x", "y", "on")
    ]
    return Found(as_events(*columns), None if dimensions == UNKNOWN else dimensions)


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
