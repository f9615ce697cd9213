"""What a file is by its first bytes: recorders, browsers and phones give it other suffixes than it deserves."""

from __future__ import annotations

import shlex
from pathlib import Path

READABLE_SOUND = ("WAV", "FLAC", "Ogg", "MP3")
_STARTS = {
    b"\x1aE\xdf\xa3": "WebM or Matroska",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b".snd": "AU",
    b"caff": "CAF",
    b"#!AMR": "AMR",
    b"\x30\x26\xb2\x75": "WMA or ASF",
    b"MAC ": "Monkey's Audio",
    b"wvpk": "WavPack",
    b"riff\x2e\x91\xcf\x11": "Wave64",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x93NUMPY": "NumPy",
    b"#ROSBAG": "a rosbag",
    b"SQLite format 3\0": "SQLite (perhaps a ROS 2 bag)",
    b"PAR1": "Parquet",
    b"#!AER-DAT": "AEDAT",
    b"%PDF": "PDF",
    b"<!DOCTYPE": "HTML",
    b"<html": "HTML",
    b"version https://git-lfs": "a Git LFS pointer, not the recording itself",
}
_WAVES = (b"RIFF", b"RIFX", b"RF64", b"BW64")


def kind_of(head: bytes) -> str | None:
    """The name of a format by the first 16 bytes or more of a file, None if it is not known."""
    if head[:4] in _WAVES and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "AIFF"
    if head[4:8] == b"ftyp":
        return "MP4 (AAC)"
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # the sync word of an MPEG frame
        return "MP3" if head[1] & 0x06 else "AAC"
    return None


def convert_sound(path: Path) -> str:
    """The remedy for sound that cannot be read."""
    target = f"{path.stem}{'-converted' if path.suffix == '.wav' else ''}.wav"
    return f"convert it: ffmpeg -i {shlex.quote(path.name)} -ac 1 {shlex.quote(target)}"
