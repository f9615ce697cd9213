"""UNIPEN text: handwriting as strokes of pen positions, many recordings in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadRecording

SUFFIXES = (".tra", ".tes", ".unipen")
SAMPLE_US = 10_000  # a point each 10 ms (pendigits-orig.names: 100 Hz)
GAP_US = 100_000  # pen-up until landing, if no .DT says otherwise

_SEGMENT = re.compile(rb"^\.SEGMENT\s", re.MULTILINE)
_HEAD = re.compile(rb'\.SEGMENT\s+\S+\s+(\d+)(?:-(\d+))?\s+\S+\s+"([^"\n]*)"\s*$', re.MULTILINE)
_COMMENT = re.compile(rb"^\.COMMENT\s+(\S+)\s+(\S+)", re.MULTILINE)
_STROKE = re.compile(
    rb"^\.PEN_DOWN\s*\n((?:[ \t]*-?\d+[ \t]+-?\d+[ \t]*\r?\n)*)\.PEN_UP[ \t]*\r?\n?(?:\.DT[ \t]+(\d+))?", re.MULTILINE
)


@dataclass(frozen=True)
class Stroke:
    """Pen positions from landing to lifting: `points` float64 (n, 2) in tablet units, 10 ms apart.

    `gap_us` is the time from the last point to the first point of the next stroke.
    """

    points: npt.NDArray[np.float64]
    gap_us: int = GAP_US


@dataclass(frozen=True)
class Segment:
    """One written sign: its `label`, the file's words for who wrote it (`writer`, '' if unknown), its `data`."""

    label: str
    writer: str
    data: bytes


@lru_cache(maxsize=8)
def _segments(path: Path, changed_ns: int, size: int) -> tuple[Segment, ...]:
    data = path.read_bytes()
    starts = [found.start() for found in _SEGMENT.finditer(data)]
    if not starts:
        raise BadRecording(path, "no .SEGMENT in the file", "it should be UNIPEN text")
    return tuple(_segment(data[start:end]) for start, end in zip(starts, [*starts[1:], len(data)], strict=True))


def _segment(data: bytes) -> Segment:
    head, comment = _HEAD.match(data), _COMMENT.search(data)
    label = head[3].decode(errors="replace") if head else ""
    return Segment(label, comment[2].decode(errors="replace") if comment else "", data)


def segments(path: Path) -> tuple[Segment, ...]:
    """All segments of a file in order; the file is split once. Raises BadRecording, FileNotFoundError."""
    state = path.stat()
    return _segments(path, state.st_mtime_ns, state.st_size)


def read_segment(path: Path, member: str) -> list[Stroke]:
    """The strokes of the segment with this ordinal (`0012`). Raises BadRecording, FileNotFoundError."""
    known = segments(path)
    if not member.isdecimal() or int(member) >= len(known):
        raise BadRecording(f"{path}#{member}", "no such recording in the file", f"it has 0 to {len(known) - 1}")
    return strokes(known[int(member)].data, f"{path}#{member}")


def strokes(data: bytes, where: str) -> list[Stroke]:
    """Parse one segment. Raises BadRecording if it is cut short or holds anything but numbers."""
    head = _HEAD.match(data)
    if head is None:
        raise BadRecording(where, f".SEGMENT: {data.splitlines()[0].decode(errors='replace')!r} is not understood")
    found = list(_STROKE.finditer(data))
    promised = int(head[2] or head[1]) - int(head[1]) + 1
    if len(found) != promised or data.count(b".PEN_DOWN") != promised:
        raise BadRecording(where, f"truncated: .SEGMENT promises {promised} strokes, {len(found)} are whole")
    parsed = [
        Stroke(np.array(one[1].split(), np.float64).reshape(-1, 2), int(one[2]) * 1000 if one[2] else GAP_US)
        for one in found
    ]
    if any(len(stroke.points) == 0 for stroke in parsed):
        raise BadRecording(where, "zero length: a stroke without points")
    return parsed
