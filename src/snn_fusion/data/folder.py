"""Any folder of recordings: with a recordings.csv, or laid out as the public sets are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from snn_fusion.data.layouts import find_sets
from snn_fusion.data.manifest import Ref, Row, load
from snn_fusion.data.readers import split_member
from snn_fusion.data.recording import Sense
from snn_fusion.data.table import NAME, read_table
from snn_fusion.data.unipen import segments
from snn_fusion.errors import BadInput, BadRecording
from snn_fusion.workspace import file_digest


def read_folder(folder: Path) -> tuple[list[Row], list[BadInput]]:
    """All recordings of a folder and, beside them, an error for each one that is damaged.

    A folder with a recordings.csv is one source, named as the folder. Without one, `fsdd`, `nmnist` and `pendigits`
    are looked for as their authors lay them out, all, some, or parts of them. Every file is read once: rows can be
    loaded. Paths are relative to `folder`. Raises BadInput if there are no recordings or recordings.csv has no
    proper header.
    """
    rows, errors = list_folder(folder)
    good, damaged = check_contents(folder, rows)
    return good, [*errors, *damaged]


def list_folder(folder: Path) -> tuple[list[Row], list[BadInput]]:
    """As `read_folder`, but files are only hashed, not looked into."""
    if not folder.is_dir():
        raise BadInput(folder, "no such folder", "name a folder of recordings")
    listed: Iterable[Row | BadInput]
    if (folder / NAME).is_file():
        listed = (
            replace(one, source=folder.resolve().name) if isinstance(one, Row) else one for one in read_table(folder)
        )
    else:
        sets = find_sets(folder)
        if not sets:
            remedy = f"expected {NAME}, fsdd/recordings/*.wav, nmnist/{{Train,Test}} or pendigits/pendigits-orig.tra"
            raise BadInput(folder, "no recordings in this folder", remedy)
        listed = (one for listing in sets.values() for one in listing())
    rows: list[Row] = []
    errors: list[BadInput] = []
    for one in listed:
        try:
            if isinstance(one, BadInput):
                errors.append(one)
            else:
                rows.append(with_checksums(folder, one))
        except BadInput as error:
            errors.append(error)
    if not rows and not errors:
        raise BadInput(folder, "no recordings in this folder", "it holds no row or file")
    return rows, errors


def with_checksums(folder: Path, row: Row) -> Row:
    """The row with the SHA-256 of each of its files. Raises BadRecording if one is given and differs."""
    return replace(row, senses={sense: _with_checksum(folder, ref) for sense, ref in row.senses.items()})


def _with_checksum(folder: Path, ref: Ref) -> Ref:
    found = _checksum(folder, ref.path)
    if ref.sha256 and ref.sha256 != found:
        problem = f"wrong checksum: expected {ref.sha256}, found {found}"
        raise BadRecording(folder / ref.path, problem, "fetch the file again, or mend recordings.csv")
    return replace(ref, sha256=found)


def _checksum(folder: Path, path: str) -> str:
    name, member = split_member(path)
    if member is None:
        return file_digest(folder / name)
    known = segments(folder / name)
    if not member.isdecimal() or int(member) >= len(known):
        raise BadRecording(folder / path, "no such recording in the file", f"it has 0 to {len(known) - 1}")
    return hashlib.sha256(known[int(member)].data).hexdigest()


def check_contents(folder: Path, rows: list[Row]) -> tuple[list[Row], list[BadInput]]:
    """Read every file once: the rows whose senses can all be read, and an error for each of the others."""
    good, damaged = [], []
    for row in rows:
        try:
            for sense, ref in row.senses.items():
                check(folder, ref, sense)
        except BadInput as error:
            damaged.append(error)
        else:
            good.append(row)
    return good, damaged


def check(folder: Path, ref: Ref, sense: Sense) -> None:
    load(folder, ref, sense)
