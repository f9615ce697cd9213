"""Tactile and inertial sensors: CSV and Parquet with a time column and one column a channel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from snn_fusion.data.recording import Imu
from snn_fusion.errors import BadRecording

TIME = "t_us"
MAX_START_US = 60_000_000
MAX_VALUE = 1e18  # far beyond any sensor, and time in us beyond 30,000 years
MAX_ROWS = 50_000_000
_HEADER = re.compile(r"\s*([^\[\]]*[^\[\]\s])\s*\[([^\[\]]+)\]\s*")


def read_motion(path: Path) -> Imu:
    """Read `t_us` and the channels; the unit is in the CSV header (`acc_x[m/s^2]`) or the Parquet field's metadata.

    Raises BadRecording if a column or unit is missing or not UTF-8, a channel is there twice, a value is not a finite
    number, or time does not increase.
    """
    if path.stat().st_size == 0:
        raise BadRecording(path, "zero length: the file is empty")
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadRecording(path, f"not readable as {path.suffix}: {error}") from None
    _check_names(path, table.schema)
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise BadRecording(path, f"column {twice[0]} is there twice")
    if TIME not in table.column_names:
        raise BadRecording(path, f"no column {TIME}", f"it has {', '.join(table.column_names)}")
    if len(table) == 0:
        raise BadRecording(path, "zero length: no rows")
    time = _numbers(path, table, TIME).astype(np.int64)
    fields = [field for field in table.schema if field.name != TIME]
    if not fields:
        raise BadRecording(path, "no channel column", "add at least one, e.g. acc_x[m/s^2]")
    names, units = zip(*(_channel(path, field) for field in fields), strict=True)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        both = " and ".join(unit for name, unit in zip(names, units, strict=True) if name == twice[0])
        raise BadRecording(path, f"channel {twice[0]} is there twice, in {both}", "give each its own name")
    values = np.column_stack([_numbers(path, table, field.name) for field in fields]).astype(np.float32)
    _check_time(path, time)
    return Imu(time, values, names, units)


def _read_csv(path: Path) -> pa.Table:
    return pyarrow.csv.read_csv(path)


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MAX_ROWS:  # run lengths pack any number of rows into a few bytes
            problem = f"declares {file.metadata.num_rows} rows, more than {MAX_ROWS}"
            raise BadRecording(path, problem, "cut it into recordings")
        return file.read()


def _check_names(path: Path, schema: pa.Schema) -> None:
    """Arrow keeps names as they are and decodes them only when asked."""
    for n in range(len(schema)):
        try:
            _ = schema.field(n).name
        except UnicodeDecodeError as error:
            problem = f"header: the name of column {n + 1} is not UTF-8: {error.object!r}"
            raise BadRecording(path, problem, "save the file as UTF-8") from None


def _numbers(path: Path, table: pa.Table, name: str) -> npt.NDArray[np.generic]:
    column = table[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadRecording(path, f"{name}: {_first_text(column)}")
    values: npt.NDArray[np.generic] = column.to_numpy()
    wrong = np.flatnonzero(~np.isfinite(values) | (np.abs(values.astype(np.float64)) > MAX_VALUE))
    if len(wrong):
        raise BadRecording(path, f"{name}: row {wrong[0] + 1} is {values[wrong[0]]}")
    return values


def _first_text(column: pa.ChunkedArray) -> str:
    """What is no number in a column that is not of numbers."""
    if pa.types.is_string(column.type):
        for n, text in enumerate(column.to_pylist()):
            try:
                float(text)
            except (TypeError, ValueError):
                return f"row {n + 1} is {text!r}, not a number"
    return f"holds {column.type}, not numbers"


def _channel(path: Path, field: pa.Field) -> tuple[str, str]:
    if found := _HEADER.fullmatch(field.name):
        return found[1], found[2]
    raw = (field.metadata or {}).get(b"unit", b"")
    try:
        unit = raw.decode()
    except UnicodeDecodeError:
        raise BadRecording(path, f"{field.name}: its unit is not UTF-8: {raw!r}", "write it anew") from None
    if not unit:
        raise BadRecording(path, f"{field.name}: no unit", f"write {field.name}[m/s^2], or [1] if it has none")
    return field.name, unit


def _check_time(path: Path, time: npt.NDArray[np.int64]) -> None:
    if (stuck := np.diff(time) <= 0).any():
        first = int(np.argmax(stuck)) + 1
        raise BadRecording(
            path, f"{TIME}: row {first + 1} at {time[first]} us does not come after {time[first - 1]} us"
        )
    if not 0 <= time[0] <= MAX_START_US:
        raise BadRecording(path, f"{TIME}: begins at {time[0]} us", "count from the start of the recording")
