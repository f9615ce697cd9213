"""Event camera files through faery: AEDAT4, Prophesee EVT2/EVT2.1/EVT3 (.raw) and DAT, Event Stream (.es)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snn_fusion.data.events import check_events
from snn_fusion.data.recording import EVENT, Events
from snn_fusion.errors import BadRecording

UNKNOWN = (65534, 65534)  # what faery is told to report as the size when the file has none
WORD_BYTES = {"evt 2.0": 4, "evt 2.1": 8, "evt 3.0": 2}


def read_camera(path: Path, size: tuple[int, int] | None = None) -> Events:
    """Read an event camera's own file; the camera's clock is set to 0 at the first event.

    `size` (width, height) is needed where the file does not say. Raises BadRecording if the file is empty, cut
    short, not of its format, or holds an event outside the sensor or earlier than the one before.
    """
    import faery  # takes 0.3 s

    _check_length(path)
    try:
        stream = faery.events_stream_from_file(path, dimensions_fallback=size or UNKNOWN)
        width, height = stream.dimensions()
        packets = [packet[["t", "x", "y", "on"]] for packet in stream]
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a damaged file can also make faery panic, which is no Exception
        raise BadRecording(path, f"not readable as {path.suffix}: {error}") from error
    if (width, height) == UNKNOWN:
        remedy = "give it in the column events_size, e.g. 640x480"
        raise BadRecording(path, "the file does not say the sensor's size", remedy)
    if size is not None and size != (width, height):
        problem = f"the file says {width}x{height}, recordings.csv {size[0]}x{size[1]}"
        raise BadRecording(path, problem, "mend or empty events_size")
    events = np.empty(sum(map(len, packets)), EVENT)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        events[ours] = np.concatenate([packet[theirs] for packet in packets]) if packets else 0
    check_events(path, events, width, height)
    events["t"] -= events["t"][0]
    return Events(events, width, height)


def _check_length(path: Path) -> None:
    """Raise BadRecording if a Prophesee file ends in the middle of a word, which faery passes over in silence."""
    data = path.read_bytes()
    if not data:
        raise BadRecording(path, "zero length: the file is empty")
    if path.suffix.lower() not in (".raw", ".dat"):
        return
    start, header = 0, b""
    while data[start : start + 1] == b"%" and (end := data.find(b"\n", start)) >= 0 and header.strip() != b"% end":
        header = data[start : end + 1]
        start = end + 1
    if path.suffix.lower() == ".dat":
        start, word = start + 2, 8  # event type and event size, then events
    else:
        text = data[:start].decode(errors="replace").lower()
        word = next((n for version, n in WORD_BYTES.items() if f"% {version}" in text), 2)
    if (rest := (len(data) - start) % word) and len(data) > start:
        raise BadRecording(path, f"truncated: {rest} bytes of a {word}-byte word at the end")
