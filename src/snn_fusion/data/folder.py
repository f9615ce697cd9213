"""Any folder of recordings: with a recordings.csv, laid out as the public sets are, or of class sub-folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from snn_fusion.data.classes import has_classes, list_classes
from snn_fusion.data.layouts import LAYOUTS, find_sets, list_set
from snn_fusion.data.manifest import Ref, Row, read_ref
from snn_fusion.data.origin import from_first
from snn_fusion.data.readers import split_member
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.data.table import NAME, read_table
from snn_fusion.data.unipen import segments
from snn_fusion.errors import BadInput, BadRecording
from snn_fusion.workspace import file_digest

# Called with a recording and its signals while they are read.
Hear = Callable[[Row, Mapping[Sense, Signal]], None]


def read_folder(folder: Path) -> tuple[list[Row], list[BadInput]]:
    """All recordings of a folder and, beside them, an error for each one that is damaged.

    A folder with a recordings.csv is one source, named as the folder. Without one, `fsdd`, `nmnist` and `pendigits`
    are looked for as their authors lay them out: all, some, or parts of them; then class sub-folders, which are one
    source again. Every file is read once, so that the rows can be loaded. Paths are relative to `folder`. Raises
    BadInput if there are no recordings, or recordings.csv has no proper header.
    """
    if is_source(folder):
        rows, errors = list_source(folder.resolve().name, folder)
    else:
        rows, errors = [], []
        for name, root in sets_of(folder).items():
            found, wrong = list_source(name, root)
            rows += [_rebased(row, root.relative_to(folder).as_posix()) for row in found]
            errors += wrong
    good, damaged = check_contents(folder, rows)
    return good, [*errors, *damaged]


def is_table(folder: Path) -> bool:
    """Whether the folder has a recordings.csv. Raises BadInput if there is no such folder."""
    if not folder.is_dir():
        raise BadInput(folder, "no such folder", "name a folder of recordings")
    return (folder / NAME).is_file()


def is_source(folder: Path) -> bool:
    """Whether the folder is one source: by a recordings.csv, or by class sub-folders that are no public set's."""
    return is_table(folder) or (not find_sets(folder) and has_classes(folder))


def sets_of(folder: Path) -> dict[str, Path]:
    """The public sets in a folder. Raises BadInput if there is none."""
    sets = find_sets(folder)
    if not sets:
        remedy = (
            f"expected {NAME}, class folders (yes/*.wav, train/yes/*.wav), fsdd/recordings/*.wav, "
            "nmnist/{Train,Test}/ or pendigits/pendigits-orig.{tra,tes}"
        )
        raise BadInput(folder, "no recordings in this folder", remedy)
    return sets


def list_folder(folder: Path) -> list[Row]:
    """The recordings that `read_folder` would read, by their names alone: no file is looked into."""
    if is_source(folder):
        return _rows_only(_listed(folder.resolve().name, folder))
    return [
        _rebased(row, root.relative_to(folder).as_posix())
        for name, root in sets_of(folder).items()
        for row in _rows_only(_listed(name, root))
    ]


def list_source(name: str, root: Path) -> tuple[list[Row], list[BadInput]]:
    """The rows of one source below `root`, with checksums, and an error for each recording that cannot be listed.

    Files are hashed, not looked into. Raises BadInput if there is nothing, or recordings.csv has no proper header.
    """
    rows: list[Row] = []
    errors: list[BadInput] = []
    for one in _listed(name, root):
        try:
            if isinstance(one, BadInput):
                errors.append(one)
            else:
                rows.append(with_checksums(root, one))
        except BadInput as error:
            errors.append(error)
    if not rows and not errors:
        raise BadInput(root, f"no recordings of {name!r} in this folder", "it names or holds no file")
    return rows, errors


def _listed(name: str, root: Path) -> Iterator[Row | BadInput]:
    by_layout = list_set(name, root) if name in LAYOUTS else list_classes(root)
    for one in read_table(root) if is_table(root) else by_layout:
        yield one if isinstance(one, BadInput) else replace(one, source=name)


def _rows_only(listed: Iterable[Row | BadInput]) -> list[Row]:
    return [one for one in listed if not isinstance(one, BadInput)]


def _rebased(row: Row, prefix: str) -> Row:
    senses = {
        s: replace(ref, path=f"{prefix}/{ref.path}" if prefix != "." else ref.path) for s, ref in row.senses.items()
    }
    return replace(row, id=f"{row.source}/{row.id}", senses=senses)


def with_checksums(root: Path, row: Row) -> Row:
    """The row with the SHA-256 of each of its files.

    Raises BadRecording if a file cannot be read, or if its SHA-256 is given and differs.
    """
    return replace(row, senses={sense: _with_checksum(root, ref) for sense, ref in row.senses.items()})


def _with_checksum(root: Path, ref: Ref) -> Ref:
    try:
        found = _checksum(root, ref.path)
    except OSError as error:
        raise BadRecording(root / ref.path, f"cannot be read: {error.strerror}") from error
    if ref.sha256 and ref.sha256 != found:
        problem = f"wrong checksum: expected {ref.sha256}, found {found}"
        raise BadRecording(root / ref.path, problem, "fetch the file again, or mend recordings.csv")
    return replace(ref, sha256=found)


def _checksum(root: Path, path: str) -> str:
    name, member = split_member(path)
    if member is None:
        return file_digest(root / name)
    known = segments(root / name)
    if not member.isdecimal() or int(member) >= len(known):
        raise BadRecording(root / path, "no such recording in the file", f"it has 0 to {len(known) - 1}")
    return hashlib.sha256(known[int(member)].data).hexdigest()


def check_contents(root: Path, rows: Iterable[Row], hear: Hear | None = None) -> tuple[list[Row], list[BadInput]]:
    """Read every file once: the rows whose senses can all be read, and an error for each sense that cannot.

    The rows carry the remarks of their readers. `hear` is called with each of them.
    """
    good: list[Row] = []
    damaged: list[BadInput] = []
    for row in rows:
        before, signals = len(damaged), dict[Sense, Signal]()
        for sense, ref in row.senses.items():
            try:
                signals[sense] = read_ref(root, ref, sense)
            except BadInput as error:
                damaged.append(error)
        if len(damaged) == before:
            together = from_first(signals)
            said = {sense: signal.remarks for sense, signal in together.items()}
            if hear is not None:
                hear(row, together)
            good.append(replace(row, senses={s: replace(ref, remarks=said[s]) for s, ref in row.senses.items()}))
    return good, damaged
