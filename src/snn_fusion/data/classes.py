"""A folder of class sub-folders: `yes/001.wav`, or `train/yes/001.wav`; the folder's name is the label."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from snn_fusion.data.event_files import is_event_table
from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.readers import READERS, UNREADABLE, unknown_suffix
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.data.table import NAME, TEST_SHARE, default_split
from snn_fusion.data.unipen import SUFFIXES as UNIPEN
from snn_fusion.errors import BadInput, BadRecording

_SPLIT = re.compile(r"(?:.*[_\-. ])?(train|val|dev|test|eval)(?:ing|id|idation|uation|set)?", re.IGNORECASE)
_SPLITS = {"train": "train", "val": "train", "dev": "train", "test": "test", "eval": "test"}
_SPEAKER = re.compile(r"(\w+)_nohash_\d+")  # Speech Commands: who spoke
TEST_LIST = "testing_list.txt"  # Speech Commands: the files that are for testing


class _Levels(NamedTuple):
    """Which folder above a file is its label, and which its split (None if none says it)."""

    label: int
    split: int | None


def has_classes(root: Path) -> bool:
    """Whether there are recordings in sub-folders, none of which is a folder with a recordings.csv itself."""
    return next(root.glob(f"*/{NAME}"), None) is None and next(_files(root), None) is not None


def list_classes(root: Path) -> Iterator[Row | BadInput]:
    """A row for each recording, an error for each file that is not read; files of one name are its senses.

    The split is that of a folder (`train`, `test`; `val` counts as training) or of testing_list.txt; else a fifth of
    the subjects, or of each class where these are unknown, is for testing, always the same. Raises BadInput if it
    cannot be told which folders are the labels.
    """
    files = list(_files(root))
    levels = _levels(root, [path.parts[:-1] for path in files])
    groups: dict[PurePosixPath, list[tuple[PurePosixPath, Sense]]] = defaultdict(list)
    for path in files:
        if (sense := _sense(root / path)) is None:
            yield BadRecording(root / path, *unknown_suffix(path.name, _sense_of_others(path)))
        else:
            groups[path.with_suffix("")].append((path, sense))
    splits = _splits(root, files, list(groups), levels)
    for name, members in groups.items():
        known = [sense for _, sense in members]
        if len(set(known)) < len(known):
            problem = f"{' and '.join(path.name for path, _ in members)} are the same sense of one recording"
            yield BadRecording(root / members[0][0], problem, "remove one, or list them in a recordings.csv")
            continue
        senses = {sense: Ref(path.as_posix(), "", _subject(name)) for path, sense in members}
        yield Row(name.as_posix(), name.parts[levels.label], splits[name], "", senses)


def _files(root: Path) -> Iterator[PurePosixPath]:
    """Files of a sense in sub-folders, in order; what is hidden or begins with _ is passed over."""
    suffixes = {suffix for sense in SENSES for suffix in (*READERS[sense], *UNREADABLE[sense])} - set(UNIPEN)
    for path in sorted(root.rglob("*")):
        inner = PurePosixPath(path.relative_to(root).as_posix())
        hidden = any(part.startswith((".", "_")) for part in inner.parts)
        if len(inner.parts) > 1 and not hidden and path.suffix.lower() in suffixes and path.is_file():
            yield inner


def _levels(root: Path, folders: Sequence[tuple[str, ...]]) -> _Levels:
    """A level whose names all say a split is one; a level of one name above others says nothing; one must remain."""
    example = "/".join(folders[0])
    if len({len(one) for one in folders}) > 1:
        other = next("/".join(one) for one in folders if len(one) != len(folders[0]))
        problem = f"folders of different depth hold recordings: {example} and {other}"
        raise BadInput(root, problem, "use CLASS/file or SPLIT/CLASS/file, or write a recordings.csv")
    names = [set(level) for level in zip(*folders, strict=True)]
    split = next((n for n, level in enumerate(names) if len(names) > 1 and all(map(_SPLIT.fullmatch, level))), None)
    labels = [n for n in range(len(names)) if n != split]
    while len(labels) > 1 and len(names[labels[0]]) == 1:
        labels = labels[1:]
    if len(labels) > 1 or all(map(_SPLIT.fullmatch, names[labels[0]])):
        problem = f"which folder of {example} is the label cannot be told"
        raise BadInput(root, problem, "use CLASS/file or SPLIT/CLASS/file, or write a recordings.csv")
    return _Levels(labels[0], split)


def _splits(
    root: Path, files: Sequence[PurePosixPath], names: Sequence[PurePosixPath], levels: _Levels
) -> Mapping[PurePosixPath, str]:
    """The split of each recording."""
    if levels.split is not None:
        found = {name: _SPLIT.fullmatch(name.parts[levels.split]) for name in names}
        return {name: _SPLITS[one[1].lower()] for name, one in found.items() if one}
    if (root / TEST_LIST).is_file():
        listed = set((root / TEST_LIST).read_text(errors="replace").split())
        tests = {path.with_suffix("") for path in files if path.as_posix() in listed}
        return {name: "test" if name in tests else "train" for name in names}
    of_label = defaultdict(list)
    for name in names:
        of_label[name.parts[levels.label]].append(name)
    tests = {name for one in of_label.values() for name in _test_fifth(one)}
    fifth = {name: "test" if name in tests else "train" for name in names}
    return {name: default_split(who) if (who := _subject(name)) else split for name, split in fifth.items()}


def _subject(name: PurePosixPath) -> str:
    found = _SPEAKER.fullmatch(name.name)
    return found[1] if found else ""


def _test_fifth(names: Sequence[PurePosixPath]) -> Sequence[PurePosixPath]:
    """A fifth of the recordings of a class, at least one of two or more, by a hash of their names."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.as_posix().encode()).digest())
    return ordered[: max(round(TEST_SHARE * len(names)), min(1, len(names) - 1))]


def _sense(path: Path) -> Sense | None:
    """By the suffix; of text, which events and inertial sensors share, by its first line. None: it is not read."""
    senses = [sense for sense in SENSES if path.suffix.lower() in READERS[sense]]
    if len(senses) > 1:
        return "events" if is_event_table(path) else "imu"
    return senses[0] if senses else None


def _sense_of_others(path: PurePosixPath) -> Sense:
    return next(sense for sense in SENSES if path.suffix.lower() in UNREADABLE[sense])
