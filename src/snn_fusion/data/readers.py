"""One way in for every file format: `read` picks the reader by sense and suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from snn_fusion.data.cameras import read_camera
from snn_fusion.data.motion import read_motion
from snn_fusion.data.nmnist import read_nmnist
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.data.sound import read_sound
from snn_fusion.data.stylus import stylus_imu
from snn_fusion.data.unipen import SUFFIXES as UNIPEN
from snn_fusion.data.unipen import read_segment
from snn_fusion.errors import BadRecording

Size = tuple[int, int]


def _pen(path: Path, member: str | None, size: Size | None) -> Signal:
    if member is None:
        raise BadRecording(path, "holds many recordings", f"name one, e.g. {path.name}#0012")
    return stylus_imu(read_segment(path, member))


def _plain(read_file: Callable[[Path], Signal]) -> Callable[[Path, str | None, Size | None], Signal]:
    return lambda path, member, size: read_file(path)


def _sized(read_file: Callable[[Path, Size | None], Signal]) -> Callable[[Path, str | None, Size | None], Signal]:
    return lambda path, member, size: read_file(path, size)


READERS: dict[Sense, dict[str, Callable[[Path, str | None, Size | None], Signal]]] = {
    "audio": dict.fromkeys((".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"), _plain(read_sound)),
    "events": {".bin": _sized(read_nmnist), **dict.fromkeys((".aedat4", ".aedat", ".raw", ".dat", ".es"), _sized(read_camera))},
    "imu": {".csv": _plain(read_motion), ".parquet": _plain(read_motion), **dict.fromkeys(UNIPEN, _pen)},
}


def read(path: Path, sense: Sense, member: str | None = None, size: Size | None = None) -> Signal:
    """Read a file as a recording of `sense`; the suffix says the format.

    `member` names one recording of a container (UNIPEN), `size` the event sensor's width and height where the file
    does not say. Raises BadRecording for an unknown suffix and for anything wrong in the file, FileNotFoundError.
    """
    known = READERS[sense]
    reader = known.get(path.suffix.lower())
    if reader is None:
        raise BadRecording(path, f"unknown suffix {path.suffix!r} for {sense}", f"known: {', '.join(known)}")
    return reader(path, member, size)


def split_member(path: str) -> tuple[str, str | None]:
    """`file.tra#0012` -> (`file.tra`, `0012`); only containers have members, so `take#2.wav` is a plain file."""
    name, mark, member = path.rpartition("#")
    return (name, member) if mark and Path(name).suffix.lower() in UNIPEN else (path, None)
