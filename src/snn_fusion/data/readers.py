"""One way in for every file format: `read` picks the reader by sense and suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from snn_fusion.data.cameras import read_camera
from snn_fusion.data.contents import convert_sound
from snn_fusion.data.event_files import read_event_file
from snn_fusion.data.events import Size
from snn_fusion.data.motion import read_motion
from snn_fusion.data.nmnist import read_nmnist
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.data.sound import read_sound
from snn_fusion.data.stylus import stylus_imu
from snn_fusion.data.unipen import SUFFIXES as UNIPEN
from snn_fusion.data.unipen import read_segment
from snn_fusion.errors import BadRecording


class How(NamedTuple):
    """What a reader is told beside the path: a container's `member`, the event sensor's `size`, an IMU's `columns`."""

    member: str | None = None
    size: Size | None = None
    columns: str = ""


Reader = Callable[[Path, How], Signal]


def _pen(path: Path, how: How) -> Signal:
    if how.member is None:
        raise BadRecording(path, "holds many recordings", f"name one, e.g. {path.name}#0012")
    return stylus_imu(read_segment(path, how.member))


def _sound(path: Path, how: How) -> Signal:
    return read_sound(path)


def _motion(path: Path, how: How) -> Signal:
    return read_motion(path, how.columns)


def _sized(read_file: Callable[[Path, Size | None], Signal]) -> Reader:
    return lambda path, how: read_file(path, how.size)


READERS: dict[Sense, dict[str, Reader]] = {
    "audio": dict.fromkeys((".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"), _sound),
    "events": {
        ".bin": _sized(read_nmnist),
        **dict.fromkeys((".aedat4", ".aedat", ".raw", ".dat", ".es"), _sized(read_camera)),
        **dict.fromkeys((".h5", ".hdf5", ".npy", ".npz", ".txt", ".csv"), _sized(read_event_file)),
    },
    "imu": {**dict.fromkeys((".csv", ".tsv", ".txt", ".parquet"), _motion), **dict.fromkeys(UNIPEN, _pen)},
}
# What people have but no reader reads, and what to do.
_BAG = "export the events, e.g. with the Python package rosbags, to HDF5 or .npz with arrays t, x, y and p"
_OTHER_SOUND = [
    ".webm",
    ".mp4",
    ".m4a",
    ".aac",
    ".wma",
    ".amr",
    ".3gp",
    ".mkv",
    ".mov",
    ".aif",
    ".aiff",
    ".au",
    ".caf",
    ".w64",
]
UNREADABLE: dict[Sense, dict[str, str]] = {
    "audio": dict.fromkeys(_OTHER_SOUND, ""),  # by ffmpeg
    "events": dict.fromkeys((".bag", ".db3", ".mcap"), _BAG),
    "imu": {".xlsx": "save it as CSV", ".xls": "save it as CSV", ".json": "save it as CSV or Parquet"},
}


def read(path: Path, sense: Sense, member: str | None = None, size: Size | None = None, columns: str = "") -> Signal:
    """Read a file as a recording of `sense`; the suffix says the format, of sound the content.

    `member` names one recording of a container (UNIPEN), `size` the event sensor's width and height where the file
    does not say, `columns` what the columns of an IMU's table are where its header does not say. Raises BadRecording
    for an unknown suffix and for anything wrong in the file, FileNotFoundError.
    """
    reader = READERS[sense].get(path.suffix.lower())
    if reader is None:
        raise BadRecording(path, *unknown_suffix(path.name, sense))
    return reader(path, How(member, size, columns))


def unknown_suffix(name: str, sense: Sense) -> tuple[str, str]:
    """What is wrong with a file's name, and the remedy."""
    path, known = Path(name), ", ".join(READERS[sense])
    problem = f"unknown suffix {path.suffix!r} for {sense}"
    remedy = UNREADABLE[sense].get(path.suffix.lower())
    if remedy is not None:
        return problem, f"{remedy or convert_sound(path)}; known: {known}"
    return problem, f"known: {known}"


def split_member(path: str) -> tuple[str, str | None]:
    """`file.tra#0012` -> (`file.tra`, `0012`); only containers have members, so `take#2.wav` is a plain file."""
    name, mark, member = path.rpartition("#")
    return (name, member) if mark and Path(name).suffix.lower() in UNIPEN else (path, None)
