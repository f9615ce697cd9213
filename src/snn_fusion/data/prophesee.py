"""Prophesee's .raw (EVT2, EVT2.1, EVT3) and .dat files.

Own readers, since faery lifts a time that goes back to the time before it, gives events before the first time base
the time 0, and cannot read EVT2.1, nor the event type 0 of older .dat files (N-CARS).
Formats: https://docs.prophesee.ai/stable/data/encoding_formats and .../data/file_formats/dat.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import Found, Size, as_events, not_too_many
from snn_fusion.data.evt3 import read_evt3
from snn_fusion.errors import BadRecording

Times = npt.NDArray[np.int64]
Words = npt.NDArray[np.integer]
_EVT_WORD = {"2": "<u4", "2.1": "<u8", "3": "<u2"}
_CD_TYPES = (0, 12)  # of .dat: 2D events of older recordings, and contrast detection
_VERSION = re.compile(rb"(?:Version|evt|format)\s+(?:EVT)?([0-9.]+)", re.IGNORECASE)


class Header(NamedTuple):
    """Where the lines that begin with % end, the version they give ('' if none), and the sensor's size."""

    end: int
    version: str
    size: Size | None
    legacy: bool


def read_raw(path: Path, data: bytes) -> Found:
    """Events of a .raw file. Those before the first time base are dropped, as Metavision does, and counted.

    Raises BadRecording if the file ends in the middle of a word or is of another version.
    """
    header = _header(data)
    version = {"21": "2.1", "": "3"}.get(header.version, header.version.removesuffix(".0"))
    if version not in _EVT_WORD:
        raise BadRecording(path, f"EVT version {version!r} cannot be read", "convert it to EVT2 or EVT3")
    words = _words(path, data, header.end, _EVT_WORD[version])
    if version == "3":
        events, early = read_evt3(path, words)
    elif version == "2":
        events, early = _evt2(path, words)
    else:
        events, early = _evt21(path, words, header.legacy)
    if len(words) and not len(events) + early:
        remedy = "the header may give the wrong version"
        raise BadRecording(path, f"no events in {len(words):,} words of EVT{version}", remedy)
    remarks = (f"{early} events before the first time base were dropped",) if early else ()
    return Found(events, header.size, remarks)


def read_dat(path: Path, data: bytes) -> Found:
    """Events of a .dat file, version 1 or 2. Raises BadRecording if it is cut short or holds no contrast events."""
    header = _header(data)
    kind = data[header.end : header.end + 2]
    if len(kind) < 2:
        raise BadRecording(path, "truncated: the header is not followed by events")
    if kind[0] not in _CD_TYPES or kind[1] != 8:
        problem = f"holds events of type {kind[0]} of {kind[1]} bytes"
        raise BadRecording(path, problem, "types 0 and 12 of 8 bytes can be read: contrast detection")
    words = _words(path, data, header.end + 2, "<u8")
    not_too_many(path, len(words))
    place = words >> 32
    bits = (9, 8, 17) if header.version.startswith("1") else (14, 14, 28)
    x, y = place & ((1 << bits[0]) - 1), place >> bits[0] & ((1 << bits[1]) - 1)
    return Found(as_events(unwrap(words & 0xFFFFFFFF, 32), x, y, place >> bits[2] & 1), header.size)


def _header(data: bytes) -> Header:
    end, version, sides, legacy = 0, "", {}, True
    while data[end : end + 2] in (b"% ", b"%\n") and (stop := data.find(b"\n", end)) >= 0:
        line = data[end + 1 : stop].strip()
        end = stop + 1
        if found := _VERSION.match(line):
            version = found[1].decode()
        for side in (b"width", b"height"):
            if found := re.search(rb"\b" + side + rb"[ =]+(\d{1,9})\b", line, re.IGNORECASE):
                sides[side] = int(found[1])
        if found := re.match(rb"geometry\s+(\d{1,9})x(\d{1,9})$", line):
            sides = {b"width": int(found[1]), b"height": int(found[2])}
        legacy = legacy and b"endianness=little" not in line
        if line == b"end":
            break
    size = (sides[b"width"], sides[b"height"]) if len(sides) == 2 else None
    return Header(end, version, size, legacy)


def _words(path: Path, data: bytes, start: int, dtype: str) -> Words:
    size, length = np.dtype(dtype).itemsize, max(0, len(data) - start)
    if rest := length % size:
        raise BadRecording(path, f"truncated: {rest} bytes of a {size}-byte word at the end")
    return np.frombuffer(data, dtype, length // size, start) if length else np.zeros(0, dtype)


def unwrap(counts: Words, bits: int) -> Times:
    """A counter begins anew where it steps from its last quarter to its first; any other step back is left."""
    count = counts.astype(np.int64)
    wraps = (count[:-1] >= 3 << (bits - 2)) & (count[1:] < 1 << (bits - 2))
    count[1:] += np.cumsum(wraps) << bits
    return count


def _evt2(path: Path, words: Words) -> tuple[npt.NDArray[np.void], int]:
    """The events, and how many came before the first time base."""
    time, of, early = _with_time(words)
    not_too_many(path, len(of))
    return as_events(time, of >> 11 & 0x7FF, of & 0x7FF, of >> 28), early


def _evt21(path: Path, words: Words, legacy: bool) -> tuple[npt.NDArray[np.void], int]:
    """Each word names 32 pixels of a row, with a bit for each that changed. Legacy sensors send its halves swapped."""
    low, high = words & 0xFFFFFFFF, words >> 32
    head, mask = (low, high) if legacy else (high, low)
    kind = head >> 28
    early = int(np.bitwise_count(mask[: _first(kind == 8)][kind[: _first(kind == 8)] <= 1]).sum())
    time, of, _ = _with_time(head.astype(np.uint32))
    masks = mask[_first(kind == 8) :][kind[_first(kind == 8) :] <= 1].astype("<u4")
    counts = np.bitwise_count(masks)
    not_too_many(path, int(counts.sum()))
    bits = np.unpackbits(masks.view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    word, bit = np.nonzero(bits)
    x = (of[word] >> 11 & 0x7FF) + bit
    return as_events(time[word], x, of[word] & 0x7FF, of[word] >> 28), early


def _with_time(words: Words) -> tuple[Times, Words, int]:
    """Times of the event words of EVT2 and EVT2.1, these words, and how many came before the first time base."""
    kind = words >> 28
    first = _first(kind == 8)
    early = int(np.sum(kind[:first] <= 1))
    words, kind = words[first:], kind[first:]
    is_event, is_high = kind <= 1, kind == 8
    high = unwrap(words[is_high] & 0xFFFFFFF, 28)
    times: Times = high[np.cumsum(is_high)[is_event] - 1] << 6 | (words[is_event] >> 22 & 0x3F)
    return times, words[is_event], early


def _first(holds: npt.NDArray[np.bool_]) -> int:
    """The index of the first True, the length if there is none."""
    return int(np.argmax(holds)) if holds.any() else len(holds)
