"""AEDAT 1, 2 (jAER) and 3 (cAER, DVS128 Gesture) files.

Formats: https://docs.inivation.com/software/software-advanced-usage/file-formats/ and, for the bits of an address,
jAER's extractors: the DVS128's x counts from the right and its polarity is inverted.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import Found, Size, as_events, not_too_many
from snn_fusion.data.recording import EVENT
from snn_fusion.errors import BadRecording

SIZES: dict[str, Size] = {
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (208, 192),
    "DAVIS240": (240, 180),
    "DAVIS346": (346, 260),
    "DAVIS640": (640, 480),
}
POLARITY = 1  # type of packets of AEDAT 3
_CHIP = re.compile(rb"(DVS128|DAVIS(?:128|208|240|346|640))", re.IGNORECASE)
_PACKET = struct.Struct("<hhiiiiii")


class _Header(NamedTuple):
    end: int
    chip: str  # '' if the header does not name it


def read_aedat2(path: Path, data: bytes, size: Size | None) -> Found:
    """Events of an AEDAT 1 or 2 file of a DVS128 or a DAVIS; the chip is named in the header or known by `size`.

    Frames, inertial samples and external marks are dropped and counted.
    """
    header = _header(path, data)
    chip = header.chip or next((name for name, one in SIZES.items() if one == size), "")
    if not chip:
        remedy = "give events_size in recordings.csv: 128x128 for a DVS128, 240x180 or 346x260 for a DAVIS"
        raise BadRecording(path, "the header does not name the chip, on which the meaning of an event depends", remedy)
    form = np.dtype([("address", ">u2" if data[9:10] == b"1" else ">u4"), ("t", ">i4")])
    words = _array(path, data, header.end, form)
    not_too_many(path, len(words))
    address = words["address"].astype(np.uint32)
    width, height = SIZES[chip]
    if chip == "DVS128":
        other = address >> 15 != 0
        x, y, p = width - 1 - (address >> 1 & 0x7F).astype(np.int64), address >> 8 & 0x7F, ~address & 1
    else:
        other = (address >> 31 != 0) | (address >> 10 & 1 != 0)
        x, y, p = width - 1 - (address >> 12 & 0x3FF).astype(np.int64), address >> 22 & 0x1FF, address >> 11 & 1
    if (wrong := ~other & ((x < 0) | (y >= height))).any():
        n = int(np.argmax(wrong))
        place = f"({width - 1 - x[n]}, {y[n]})"
        raise BadRecording(path, f"x, y: event {n} is at {place}, outside the {width} x {height} sensor of a {chip}")
    time = _unwrapped(words["t"].astype(np.int64))
    events = as_events(time[~other], x[~other], y[~other], p[~other])
    return Found(events, (width, height), _dropped(int(other.sum()), "words that are no change of a pixel"))


def read_aedat3(path: Path, data: bytes, size: Size | None) -> Found:
    """The polarity events of an AEDAT 3 file, all of its packets of that kind; those marked invalid are dropped."""
    header = _header(path, data)
    at, parts, total = header.end, [], 0
    while at < len(data):
        if at + _PACKET.size > len(data):
            raise BadRecording(path, f"truncated: {len(data) - at} bytes of a packet's header at the end")
        kind, _, length, _, overflow, capacity, count, _ = _PACKET.unpack_from(data, at)
        start, at = at + _PACKET.size, at + _PACKET.size + max(capacity, count) * length
        if length <= 0 or count < 0 or capacity < 0 or overflow < 0:
            raise BadRecording(path, f"damaged: the packet at byte {start - _PACKET.size} has a negative length")
        if at > len(data):
            problem = f"truncated: a packet promises {at - start} bytes, {len(data) - start} are there"
            raise BadRecording(path, problem)
        if kind == POLARITY and count:
            if length != 8:
                raise BadRecording(path, f"damaged: polarity events of {length} bytes instead of 8")
            total += count
            not_too_many(path, total)
            parts.append(_polarity(data, start, count, overflow))
    events = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, EVENT)
    invalid = sum(part[1] for part in parts)
    return Found(events, SIZES.get(header.chip), _dropped(invalid, "events that are marked as invalid"))


def _polarity(data: bytes, start: int, count: int, overflow: int) -> tuple[npt.NDArray[np.void], int]:
    words = np.frombuffer(data, np.dtype([("data", "<u4"), ("t", "<i4")]), count, start)
    of = words["data"]
    valid = of & 1 != 0
    of, time = of[valid], words["t"][valid].astype(np.int64) + (overflow << 31)
    return as_events(time, of >> 17, of >> 2 & 0x7FFF, of >> 1 & 1), int((~valid).sum())


def _header(path: Path, data: bytes) -> _Header:
    """Lines that begin with #; the chip is named in one of them."""
    end, chip = 0, ""
    while data[end : end + 1] == b"#" and (stop := data.find(b"\n", end)) >= 0:
        line = data[end:stop].strip()
        end = stop + 1
        if found := _CHIP.search(line):
            chip = found[1].decode().upper()
        if line.upper().startswith((b"#!END-HEADER", b"#END OF ASCII HEADER")):
            break
    if not end:
        raise BadRecording(path, "truncated: the header has no end")
    return _Header(end, chip)


def _array(path: Path, data: bytes, start: int, form: np.dtype[np.void]) -> npt.NDArray[np.void]:
    length = len(data) - start
    if rest := length % form.itemsize:
        raise BadRecording(path, f"truncated: {rest} bytes of a {form.itemsize}-byte event at the end")
    return np.frombuffer(data, form, length // form.itemsize, start) if length else np.zeros(0, form)


def _unwrapped(time: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Signed 32 bits begin anew at their lowest value, after 36 minutes."""
    return time + (np.cumsum(np.diff(time, prepend=time[:1]) < -(1 << 31)) << 32)


def _dropped(n: int, what: str) -> tuple[str, ...]:
    return (f"{n} {what} were dropped",) if n else ()
