"""The public sets as their authors lay them out, found in a folder and turned into rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.unipen import segments
from snn_fusion.errors import BadInput, BadRecording

DIGITS = frozenset("0123456789")
FSDD_TEST = 5  # official split: takes 0-4 of each speaker and digit are for testing
_FSDD = re.compile(r"([0-9])_([^_]+)_(\d+)\.wav", re.IGNORECASE)

Found = Iterator[Row | BadInput]


def _is_junk(name: str) -> bool:
    """Hidden, or left by macOS beside the real files (`._0_ann_0.wav`, `__MACOSX`)."""
    return name.startswith(".") or name == "__MACOSX"


def _wavs(root: Path) -> Path:
    return root / "recordings" if (root / "recordings").is_dir() else root


def _fsdd(root: Path) -> Found:
    for path in sorted(_wavs(root).glob("*.[wW][aA][vV]")):
        if _is_junk(path.name):
            continue
        match = _FSDD.fullmatch(path.name)
        if match is None:
            yield BadRecording(path, "unknown label: the name is not {digit}_{speaker}_{n}.wav")
            continue
        label, speaker, take = match.groups()
        split = "test" if int(take) < FSDD_TEST else "train"
        ref = Ref(path.relative_to(root).as_posix(), "", speaker)
        yield Row(path.stem, label, split, "fsdd", {"audio": ref})


def _bins(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*/*.bin"))
    return [path for path in found if not (_is_junk(path.name) or _is_junk(path.parent.name))]


def _nmnist(root: Path) -> Found:
    for split in ("Train", "Test"):
        for path in _bins(root / split):
            label = path.parent.name
            if label not in DIGITS:
                yield BadRecording(path, f"unknown label: the folder is {label!r}, not a digit")
                continue
            ref = Ref(path.relative_to(root).as_posix(), "", "")
            yield Row(f"{split}/{label}/{path.stem}", label, split.lower(), "nmnist", {"events": ref})


def _pendigits(root: Path) -> Found:
    for part, split in (("tra", "train"), ("tes", "test")):
        path = root / f"pendigits-orig.{part}"
        if not path.is_file():
            continue
        try:
            found = segments(path)
        except BadRecording as error:
            yield error
            continue
        for n, segment in enumerate(found):
            member = f"{path.name}#{n:04d}"
            if segment.label not in DIGITS:
                yield BadRecording(root / member, f"unknown label {segment.label!r}")
                continue
            # Writers of the two files are different people, though both are counted from 0.
            subject = f"{part}-w{segment.writer}" if segment.writer else ""
            yield Row(f"{part}-{n:04d}", segment.label, split, "pendigits", {"imu": Ref(member, "", subject)})


def _is_fsdd(root: Path) -> bool:
    return any(_FSDD.fullmatch(path.name) for path in _wavs(root).glob("*.[wW][aA][vV]"))


def _is_nmnist(root: Path) -> bool:
    return any(_bins(root / split) for split in ("Train", "Test"))


def _is_pendigits(root: Path) -> bool:
    return any((root / f"pendigits-orig.{part}").is_file() for part in ("tra", "tes"))


LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Found]]] = {
    "fsdd": (_is_fsdd, _fsdd),
    "nmnist": (_is_nmnist, _nmnist),
    "pendigits": (_is_pendigits, _pendigits),
}


def find_sets(folder: Path) -> dict[str, Path]:
    """The public sets in `folder` and where: in a subfolder of their name, or the folder itself is the set."""
    found: dict[str, Path] = {}
    for name, (is_there, _) in LAYOUTS.items():
        for root in (folder / name, folder):
            if root.is_dir() and is_there(root):
                found[name] = root
                break
    return found


def list_set(name: str, root: Path) -> Found:
    """The recordings of a public set, paths relative to `root`, each misplaced file as an error in its place."""
    return LAYOUTS[name][1](root)
