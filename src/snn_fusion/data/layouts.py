"""The public sets as their authors lay them out, found in a folder and turned into rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.unipen import segments
from snn_fusion.errors import BadInput, BadRecording

DIGITS = frozenset("0123456789")
_FSDD = re.compile(r"([0-9])_([^_]+)_(\d+)\.wav")
FSDD_TEST = 5  # official split: takes 0-4 of each speaker and digit are for testing

Found = Iterator[Row | BadInput]


def _fsdd(folder: Path, wavs: Path) -> Found:
    for path in sorted(wavs.glob("*.wav")):
        match = _FSDD.fullmatch(path.name)
        if match is None:
            yield BadRecording(path, "unknown label: the name is not {digit}_{speaker}_{n}.wav")
            continue
        label, speaker, take = match.groups()
        split = "test" if int(take) < FSDD_TEST else "train"
        ref = Ref(path.relative_to(folder).as_posix(), "", speaker)
        yield Row(f"fsdd/{path.stem}", label, split, "fsdd", {"audio": ref})


def _nmnist(folder: Path, root: Path) -> Found:
    for split in ("Train", "Test"):
        for path in sorted((root / split).glob("*/*.bin")):
            label = path.parent.name
            if label not in DIGITS:
                yield BadRecording(path, f"unknown label: the folder is {label!r}, not a digit")
                continue
            ref = Ref(path.relative_to(folder).as_posix(), "", "")
            yield Row(f"nmnist/{split}/{label}/{path.stem}", label, split.lower(), "nmnist", {"events": ref})


def _pendigits(folder: Path, root: Path) -> Found:
    for part, split in (("tra", "train"), ("tes", "test")):
        path = root / f"pendigits-orig.{part}"
        if not path.is_file():
            continue
        try:
            found = segments(path)
        except BadRecording as error:
            yield error
            continue
        name = path.relative_to(folder).as_posix()
        for n, segment in enumerate(found):
            member = f"{name}#{n:04d}"
            if segment.label not in DIGITS:
                yield BadRecording(folder / member, f"unknown label {segment.label!r}")
                continue
            # Writers of the two files are different people, though both are counted from 0.
            subject = f"{part[:3]}-w{segment.writer}" if segment.writer else ""
            yield Row(f"pendigits/{part}-{n:04d}", segment.label, split, "pendigits", {"imu": Ref(member, "", subject)})


def _wavs(folder: Path) -> bool:
    return folder.is_dir() and any(_FSDD.fullmatch(path.name) for path in folder.glob("*.wav"))


def _has_nmnist(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in ("Train", "Test"))


def _has_pendigits(folder: Path) -> bool:
    return any((folder / f"pendigits-orig.{part}").is_file() for part in ("tra", "tes"))


def find_sets(folder: Path) -> dict[str, Callable[[], Found]]:
    """Which public sets lie in `folder` (as in the mirror, or the folder is one of them), each with its listing."""
    sets: dict[str, Callable[[], Found]] = {}
    for wavs in (folder / "fsdd" / "recordings", folder / "recordings", folder):
        if _wavs(wavs) and "fsdd" not in sets:
            sets["fsdd"] = partial(_fsdd, folder, wavs)
    for root in (folder / "nmnist", folder):
        if _has_nmnist(root) and "nmnist" not in sets:
            sets["nmnist"] = partial(_nmnist, folder, root)
    for root in (folder / "pendigits", folder):
        if _has_pendigits(root) and "pendigits" not in sets:
            sets["pendigits"] = partial(_pendigits, folder, root)
    return sets
