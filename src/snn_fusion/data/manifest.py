"""The manifest: one row a recording, with a reference to the file of each of its senses."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snn_fusion.data.origin import from_first
from snn_fusion.data.readers import read, split_member
from snn_fusion.data.recording import SENSES, Sense, Signal
from snn_fusion.errors import BadInput, BadRecording
from snn_fusion.workspace import write_atomic

SPLITS = ("train", "test")
# What later stages read of validated/; its reports may change without it.
DATA_SET = ("recordings.parquet", "joined.parquet")


@dataclass(frozen=True)
class Ref:
    """Where one sense of a recording lies.

    `path` is relative to the folder of the manifest, with `/`; `#member` names one recording of a container file.
    `sha256` is of the file's bytes (of the member's own bytes in a container), `subject` the speaker, writer or
    wearer ('' if unknown), `size` the sensor's width and height where the file does not say, `columns` what the
    columns of an IMU's table are where their header does not say. `remarks` are what its reader found unusual.
    """

    path: str
    sha256: str
    subject: str
    size: tuple[int, int] | None = None
    columns: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One labelled recording with one to three senses. `split` is 'train' or 'test'."""

    id: str
    label: str
    split: str
    source: str
    senses: Mapping[Sense, Ref]

    def has(self, sense: Sense) -> bool:
        return sense in self.senses

    @property
    def subjects(self) -> tuple[str, ...]:
        """The known subjects of all senses, each once, sorted."""
        return tuple(sorted({ref.subject for ref in self.senses.values()} - {""}))


def _schema() -> pa.Schema:
    fields = [pa.field(name, pa.string(), nullable=False) for name in ("id", "label", "split", "source")]
    for sense in SENSES:
        fields += [pa.field(f"{sense}_{part}", pa.string()) for part in ("path", "sha256", "subject")]
    return pa.schema([*fields, pa.field("events_width", pa.int32()), pa.field("events_height", pa.int32())])


def _added() -> pa.Schema:
    """Columns that manifests of earlier versions lack."""
    remarks = [pa.field(f"{sense}_remarks", pa.list_(pa.string())) for sense in SENSES]
    return pa.schema([pa.field("imu_columns", pa.string()), *remarks])


def write_manifest(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as Parquet, whole or not at all. A sense that a row lacks is null."""
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in ("id", "label", "split", "source")
    }
    for sense in SENSES:
        refs = [row.senses.get(sense) for row in rows]
        for part in ("path", "sha256", "subject"):
            columns[f"{sense}_{part}"] = [getattr(ref, part) if ref else None for ref in refs]
    sizes = [ref.size if (ref := row.senses.get("events")) else None for row in rows]
    columns["events_width"] = [size[0] if size else None for size in sizes]
    columns["events_height"] = [size[1] if size else None for size in sizes]
    columns["imu_columns"] = [ref.columns or None if (ref := row.senses.get("imu")) else None for row in rows]
    for sense in SENSES:
        refs = [row.senses.get(sense) for row in rows]
        columns[f"{sense}_remarks"] = [list(ref.remarks) or None if ref else None for ref in refs]
    schema = pa.schema([*_schema(), *_added()])
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest. Raises BadInput if it is missing, not Parquet or lacks a column."""
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table imports pandas, which takes a second
            table = file.read()
    except FileNotFoundError:
        raise BadInput(path, "no such manifest", "run `snn-fusion import`") from None
    except (pa.ArrowException, OSError) as error:
        raise BadInput(path, f"not a manifest: {error}", "run `snn-fusion import` again") from None
    if missing := [name for name in _schema().names if name not in table.column_names]:
        raise BadInput(path, f"not a manifest: no column {missing[0]}", "run `snn-fusion import` again")
    columns = {name: [None] * len(table) for name in _added().names} | table.to_pydict()
    return [_row(columns, n) for n in range(len(table))]


def _row(columns: dict[str, list[Any]], n: int) -> Row:
    senses: dict[Sense, Ref] = {}
    for sense in SENSES:
        path = columns[f"{sense}_path"][n]
        if path is not None:
            senses[sense] = Ref(
                path,
                columns[f"{sense}_sha256"][n] or "",
                columns[f"{sense}_subject"][n] or "",
                _size(columns, sense, n),
                (columns["imu_columns"][n] or "") if sense == "imu" else "",
                tuple(columns[f"{sense}_remarks"][n] or ()),
            )
    return Row(columns["id"][n], columns["label"][n], columns["split"][n], columns["source"][n], senses)


def _size(columns: dict[str, list[Any]], sense: Sense, n: int) -> tuple[int, int] | None:
    if sense != "events" or columns["events_width"][n] is None:
        return None
    return columns["events_width"][n], columns["events_height"][n]


def load(root: Path, ref: Ref, sense: Sense) -> Signal:
    """Read a recording of one sense below `root`; it begins at 0, whatever the clock of its sensor said.

    Raises BadRecording naming the file and what is wrong in it.
    """
    return load_together(root, {sense: ref})[sense]


def load_together(root: Path, senses: Mapping[Sense, Ref]) -> dict[Sense, Signal]:
    """Read one recording's senses below `root`, with the time between them as it was. Raises BadRecording."""
    return from_first({sense: read_ref(root, ref, sense) for sense, ref in senses.items()})


def read_ref(root: Path, ref: Ref, sense: Sense) -> Signal:
    """Read a recording of one sense below `root`, with time stamps as they are in the file. Raises BadRecording."""
    name, member = split_member(ref.path)
    try:
        return read(root / name, sense, member, ref.size, ref.columns)
    except FileNotFoundError:
        raise BadRecording(root / name, "no such file", "run `snn-fusion import` again") from None
