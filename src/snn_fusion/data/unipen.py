"""UNIPEN text: handwriting as strokes of pen positions, many recordings in a file.

The dialect is that of the pendigits set: after each `.SEGMENT` come its strokes. From the text before the first
segment `.POINTS_PER_SECOND` and `.X_POINTS_PER_INCH` (or `_MM`) are honoured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadRecording

SUFFIXES = (".tra", ".tes", ".unipen")
RATE_HZ = 100  # assumption: pendigits' page says "100 miliseconds", at which a digit would take 4 s
UNIT_M = 1e-4  # assumption: one tablet unit is 0.1 mm (pendigits does not say)
GAP_MS = 100  # from the last point of a stroke to the first of the next, if no .DT says otherwise
MAX_GAP_MS = 3_600_000
MAX_UNITS = 1e6

_SEGMENT = re.compile(rb"^\.SEGMENT\s", re.MULTILINE)
_HEAD = re.compile(rb'\.SEGMENT\s+\S+\s+(\d+)(?:-(\d+))?\s+\S+\s+"([^"\n]*)"\s*$', re.MULTILINE)
_COMMENT = re.compile(rb"^\.COMMENT\s+(\S+)\s+(\S+)", re.MULTILINE)
_PAIR = rb"[ \t]*-?\d+[ \t]+-?\d+[ \t]*\r?"
_POINT = re.compile(_PAIR)
_STROKE = re.compile(rb"^\.PEN_DOWN\s*\n((?:" + _PAIR + rb"\n)*)\.PEN_UP[ \t]*\r?\n?(?:\.DT[ \t]+(\d+))?", re.MULTILINE)
_RATE = re.compile(rb"^\.POINTS_PER_SECOND\s+(\d+(?:\.\d+)?)", re.MULTILINE)
_SCALE = re.compile(rb"^\.X_POINTS_PER_(INCH|MM)\s+(\d+(?:\.\d+)?)", re.MULTILINE)


@dataclass(frozen=True)
class Stroke:
    """Pen positions from landing to lifting: `points` float64 (n, 2) in m, `sample_us` apart.

    `gap_us` is the time from the last point to the first point of the next stroke.
    """

    points: npt.NDArray[np.float64]
    sample_us: int = 1_000_000 // RATE_HZ
    gap_us: int = GAP_MS * 1000


@dataclass(frozen=True)
class Segment:
    """One written sign: its `label`, who wrote it (`writer`, '' if unknown) and its text (`data`)."""

    label: str
    writer: str
    data: bytes
    sample_us: int = 1_000_000 // RATE_HZ
    unit_m: float = UNIT_M


def segments(path: Path) -> tuple[Segment, ...]:
    """All segments of a file in order; the file is split once. Raises BadRecording, FileNotFoundError."""
    state = path.stat()
    return _segments(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _segments(path: Path, changed_ns: int, size: int) -> tuple[Segment, ...]:
    data = path.read_bytes()
    starts = [found.start() for found in _SEGMENT.finditer(data)]
    if not starts:
        raise BadRecording(path, "no .SEGMENT in the file", "it should be UNIPEN text")
    sample_us, unit_m = _tablet(path, data[: starts[0]])
    ends = [*starts[1:], len(data)]
    return tuple(_segment(data[a:b], sample_us, unit_m) for a, b in zip(starts, ends, strict=True))


def _tablet(path: Path, preamble: bytes) -> tuple[int, float]:
    rate, scale = _RATE.search(preamble), _SCALE.search(preamble)
    hertz, points = float(rate[1]) if rate else RATE_HZ, float(scale[2]) if scale else 1.0
    if not 1 <= hertz <= 1e5:
        raise BadRecording(path, f".POINTS_PER_SECOND: {hertz} is not between 1 and 100,000")
    if not points:
        raise BadRecording(path, ".X_POINTS_PER_INCH: is 0")
    if not scale:
        return round(1e6 / hertz), UNIT_M
    return round(1e6 / hertz), (0.0254 if scale[1] == b"INCH" else 1e-3) / points


def _segment(data: bytes, sample_us: int, unit_m: float) -> Segment:
    head, comment = _HEAD.match(data), _COMMENT.search(data)
    label = head[3].decode(errors="replace") if head else ""
    return Segment(label, comment[2].decode(errors="replace") if comment else "", data, sample_us, unit_m)


def read_segment(path: Path, member: str) -> list[Stroke]:
    """The strokes of the segment with this ordinal (`0012`). Raises BadRecording, FileNotFoundError."""
    known = segments(path)
    if not member.isdecimal() or int(member) >= len(known):
        raise BadRecording(f"{path}#{member}", "no such recording in the file", f"it has 0 to {len(known) - 1}")
    return strokes(known[int(member)], f"{path}#{member}")


def strokes(segment: Segment, where: str) -> list[Stroke]:
    """Parse one segment. Raises BadRecording if it is cut short or holds anything but whole numbers."""
    data = segment.data
    head = _HEAD.match(data)
    if head is None:
        raise BadRecording(where, f".SEGMENT: {data.splitlines()[0].decode(errors='replace')!r} is not understood")
    found = list(_STROKE.finditer(data))
    promised = int(head[2] or head[1]) - int(head[1]) + 1
    if len(found) != promised or data.count(b".PEN_DOWN") != promised:
        if data.count(b".PEN_UP") == promised and (line := _wrong_line(data)):
            raise BadRecording(where, f"point {line!r} is not two whole numbers")
        raise BadRecording(where, f"truncated: .SEGMENT promises {promised} strokes, {len(found)} are whole")
    return [_stroke(segment, where, one[1], int(one[2] or GAP_MS)) for one in found]


def _wrong_line(data: bytes) -> str | None:
    """The first line that is neither a command nor a point."""
    for line in data.splitlines():
        if line.strip() and not line.startswith(b".") and not _POINT.fullmatch(line):
            return line.decode(errors="replace").strip()
    return None


def _stroke(segment: Segment, where: str, text: bytes, gap_ms: int) -> Stroke:
    points = np.array(text.split(), np.float64).reshape(-1, 2)
    if not len(points):
        raise BadRecording(where, "zero length: a stroke without points")
    if (far := np.abs(points) > MAX_UNITS).any():
        raise BadRecording(where, f"point {points[far][0]:.0f} is beyond {MAX_UNITS:.0f} tablet units")
    if gap_ms > MAX_GAP_MS:
        raise BadRecording(where, f".DT: {gap_ms} ms is more than an hour")
    return Stroke(points * segment.unit_m, segment.sample_us, gap_ms * 1000)
