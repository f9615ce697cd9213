"""Event camera files through faery: AEDAT4, Prophesee EVT2/EVT2.1/EVT3 (.raw) and DAT, Event Stream (.es)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snn_fusion.data.events import check_events
from snn_fusion.data.recording import EVENT, Events
from snn_fusion.errors import BadRecording

UNKNOWN = (65534, 65534)  # what faery reports as the size when the file has none


def read_camera(path: Path, size: tuple[int, int] | None = None) -> Events:
    """Read an event camera's own file; its clock is set to 0 at the first event.

    `size` (width, height) is used where the file does not say. Raises BadRecording.
    """
    import faery  # takes 0.3 s

    if path.stat().st_size == 0:
        raise BadRecording(path, "zero length: the file is empty")
    try:
        stream = faery.events_stream_from_file(path, dimensions_fallback=size or UNKNOWN)
        width, height = stream.dimensions()
        packets = [packet[["t", "x", "y", "on"]] for packet in stream]
    except (Exception, BaseExceptionGroup) as error:
        raise BadRecording(path, f"not readable as {path.suffix}: {error}") from error
    if (width, height) == UNKNOWN:
        raise BadRecording(
            path, "the file does not say the sensor's size", "give it in the column events_size, e.g. 640x480"
        )
    raw = np.concatenate(packets) if packets else np.empty(0, [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")])
    events = np.empty(len(raw), EVENT)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        events[ours] = raw[theirs]
    check_events(path, events, width, height)
    events["t"] -= events["t"][0]
    return Events(events, width, height)
