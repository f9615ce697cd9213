"""recordings.csv: the list of recordings in a folder of the user's own. Format: docs/recordings.md."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from snn_fusion.data.manifest import SPLITS, Ref, Row
from snn_fusion.data.readers import READERS, split_member, unknown_suffix
from snn_fusion.data.recording import MAX_SIDE, SENSES, Sense
from snn_fusion.data.text_table import read_text
from snn_fusion.data.unipen import SUFFIXES as UNIPEN
from snn_fusion.errors import BadInput, BadRecording

NAME = "recordings.csv"
COLUMNS = (
    "id",
    "label",
    "split",
    "subject",
    *SENSES,
    "events_size",
    "imu_columns",
    *(f"{sense}_{part}" for sense in SENSES for part in ("subject", "sha256")),
)
TEST_SHARE = 0.2


class _Seen(NamedTuple):
    """In the rows so far: the ids, and for each file its label and its row."""

    ids: set[str]
    files: dict[tuple[Sense, PurePosixPath], tuple[str, str]]


def read_table(folder: Path) -> Iterator[Row | BadInput]:
    """The rows of folder/recordings.csv as they are written there, each wrong row as an error in its place.

    Raises BadInput if the file or its header is not of the documented form.
    """
    path = folder / NAME
    text = read_text(path, path.read_bytes())
    try:
        header = next(iter(text.splitlines()), "")
        separator = next((one for one in (",", ";", "\t") if one in header), ",")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        _check_header(path, lines.fieldnames)
        seen = _Seen(set(), {})
        for line in lines:
            yield _row_or_error(folder, f"{path}: row {lines.line_num}", line, seen)
    except csv.Error as error:
        raise BadInput(path, f"not a CSV file: {error}") from None


def _check_header(path: Path, header: Sequence[str] | None) -> None:
    if not header:
        raise BadInput(path, "the file is empty", f"begin with the header {','.join(COLUMNS[:4])},audio,events,imu")
    if missing := {"id", "label"} - set(header):
        raise BadInput(path, f"header: no column {', '.join(sorted(missing))}", f"it has {', '.join(header)}")
    if unknown := [name for name in header if name not in COLUMNS]:
        raise BadInput(path, f"header: unknown column {', '.join(unknown)}", f"known: {', '.join(COLUMNS)}")
    if twice := sorted({name for name in header if list(header).count(name) > 1}):
        raise BadInput(path, f"header: column {', '.join(twice)} is there twice")
    if not set(header) & set(SENSES):
        raise BadInput(path, "header: no column of a sense", f"add at least one of {', '.join(SENSES)}")


def _row_or_error(folder: Path, where: str, line: dict[str, str | None], seen: _Seen) -> Row | BadInput:
    try:
        if None in line or None in line.values():
            raise BadRecording(where, "not as many values as the header has columns")
        row = _row(folder, where, {name: (value or "").strip() for name, value in line.items()})
        if row.id in seen.ids:
            raise BadRecording(f"{where}: id", f"{row.id!r} is there twice", "give each recording an id of its own")
        for sense, ref in row.senses.items():
            label, first = seen.files.get((sense, PurePosixPath(ref.path)), (row.label, ""))
            if label != row.label:
                problem = f"{ref.path!r} is {row.label!r} here and {label!r} in {first}"
                raise BadRecording(f"{where}: {sense}", problem, "give a file one label")
    except BadInput as error:
        return error
    seen.ids.add(row.id)
    for sense, ref in row.senses.items():
        seen.files.setdefault((sense, PurePosixPath(ref.path)), (row.label, where.rpartition(": ")[2]))
    return row


def _row(folder: Path, where: str, line: dict[str, str]) -> Row:
    for name in ("id", "label"):
        if not line[name]:
            raise BadRecording(f"{where}: {name}", "is empty", f"every recording needs its {name}")
    senses = {sense: _ref(folder, where, line, sense) for sense in SENSES if line.get(sense)}
    if not senses:
        raise BadRecording(where, "no file", f"name one in a column of {', '.join(SENSES)}")
    subject = next((ref.subject for ref in senses.values() if ref.subject), "")
    split = line.get("split") or default_split(subject or line["id"])
    if split not in SPLITS:
        raise BadRecording(f"{where}: split", f"unknown split {split!r}", "write train, test or nothing")
    return Row(line["id"], line["label"], split, "", senses)


def default_split(key: str) -> str:
    """'test' for about a fifth of all subjects, always the same ones, however many recordings are added later."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "test" if number < TEST_SHARE * 2**64 else "train"


def _ref(folder: Path, where: str, line: dict[str, str], sense: Sense) -> Ref:
    path, field = line[sense], f"{where}: {sense}"
    name, member = split_member(path)
    if any(p.is_absolute() or p.drive or ".." in p.parts for p in (PurePosixPath(name), PureWindowsPath(name))):
        raise BadRecording(field, f"path {path!r} leads out of the folder", "write it relative to recordings.csv")
    if Path(name).suffix.lower() not in READERS[sense]:
        problem, remedy = unknown_suffix(name, sense)
        raise BadRecording(field, f"{path!r}: {problem}", remedy)
    if Path(name).suffix.lower() in UNIPEN and member is None:
        raise BadRecording(field, f"{path!r} holds many recordings", f"name one, e.g. {path}#0012")
    try:
        there = (folder / name).is_file()
    except OSError as error:
        problem = f"a path of {len(path)} characters, {path[:40]!r}..., cannot be looked up: {error.strerror}"
        raise BadRecording(field, problem, "shorten it") from None
    if not there:
        raise BadRecording(field, f"no such file {path!r}", "paths are relative to recordings.csv")
    subject = line.get(f"{sense}_subject") or line.get("subject") or ""
    size = _size(f"{where}: events_size", line.get("events_size", "")) if sense == "events" else None
    columns = line.get("imu_columns", "") if sense == "imu" else ""
    return Ref(path, line.get(f"{sense}_sha256", "").lower(), subject, size, columns)


def _size(where: str, text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and len(side) < 9 and 0 < int(side) <= MAX_SIDE for side in (width, height)):
        remedy = f"write e.g. 34x34, 1 to {MAX_SIDE} a side"
        raise BadRecording(where, f"{text!r} is not WIDTHxHEIGHT in pixels", remedy)
    return int(width), int(height)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows in the documented form, with checksums and a subject a sense."""
    senses = [sense for sense in SENSES if any(row.has(sense) for row in rows)]
    refs = [ref for row in rows for ref in row.senses.values()]
    used = {"events_size": any(ref.size for ref in refs), "imu_columns": any(ref.columns for ref in refs)}
    extra = [name for name in used if used[name]]
    header = ["id", "label", "split", *senses, *extra]
    header += [f"{sense}_{part}" for sense in senses for part in ("subject", "sha256")]
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(_cells(row, senses, extra) for row in rows)


def _cells(row: Row, senses: Sequence[Sense], extra: Sequence[str]) -> list[str]:
    refs = [row.senses.get(sense) for sense in senses]
    cells = [row.id, row.label, row.split, *(ref.path if ref else "" for ref in refs)]
    events, imu = row.senses.get("events"), row.senses.get("imu")
    if "events_size" in extra:
        cells.append(f"{events.size[0]}x{events.size[1]}" if events and events.size else "")
    if "imu_columns" in extra:
        cells.append(imu.columns if imu else "")
    for ref in refs:
        cells += [ref.subject, ref.sha256] if ref else ["", ""]
    return cells
