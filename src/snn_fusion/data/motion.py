"""Tactile and inertial sensors: CSV and Parquet with a time column and one column a channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from snn_fusion.data.recording import Imu
from snn_fusion.data.text_table import TextTable, read_table_text
from snn_fusion.data.units import microseconds, name_and_unit, si_unit, time_unit
from snn_fusion.errors import BadRecording

MAX_VALUE = 1e18  # far beyond any sensor
MAX_ROWS = 50_000_000
MAX_VALUES = 200_000_000  # of all columns
EXAMPLE = "t[s]=time; acc_x[m/s^2]=ax; contact[1]=touch"
_TIME = re.compile(r"(?:t|ts|time|times|timestamp|timestamps|seconds_elapsed)(?:[_ ](s|sec|seconds|ms|us|µs|ns))?")
_PHYPHOX = re.compile(r"(?:(linear )?acceleration|gyroscope|magnetic field) ([xyz])", re.IGNORECASE)
_PHYPHOX_NAMES = {"a": "acc", "l": "acc", "g": "gyr", "m": "mag"}

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Column:
    """A column under its own name, and how its numbers are got; `unit` is '' if the file does not say it."""

    name: str
    unit: str
    source: str
    values: Callable[[], Numbers]


def read_motion(path: Path, mapping: str = "") -> Imu:
    """Read the time and the channels of a table, in SI units; times are those of the file, in us.

    A unit is in the header (`acc_x[m/s^2]`, `acc_x (g)`), in a Parquet field's metadata, or in `mapping`, which names
    the columns anew (`t[s]=time; acc_x[g]=ax`) or, without `=`, all of them in order. `remarks` say what was converted
    or left out. Raises BadRecording if a column or unit is missing, a channel is there twice, a value is not a finite
    number, time does not increase, or it cannot be in the unit that its name says.
    """
    if path.stat().st_size == 0:
        raise BadRecording(path, "zero length: the file is empty")
    columns, remarks = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path, bool(mapping))
    columns, unnamed = _without_unnamed(path, columns)
    columns = _mapped(path, columns, mapping) if mapping else [_well_known(one) for one in columns]
    _check_twice(path, columns)
    clock, left_out = _clock(path, columns)
    channels = [one for one in columns if one.source not in (clock.source, *left_out)]
    if not channels:
        raise BadRecording(path, "no channel column", "add at least one, e.g. acc_x[m/s^2]")
    for one in channels:
        if not one.unit:
            remedy = f"write {one.name}[m/s^2], or [1] if it has none, or give imu_columns in recordings.csv: {EXAMPLE}"
            raise BadRecording(path, f"{one.name}: no unit", remedy)
    time, guessed = _times(path, clock)
    values, units, converted = _in_si(path, channels)
    time, values, twice = _once(path, clock.source, time, values)
    left = [f"column {name} was left out: {clock.source} gives the time" for name in left_out]
    names = tuple(one.name for one in channels)
    return Imu(time, values, names, units, (*remarks, *unnamed, *left, *guessed, *converted, *twice))


def _read_text(path: Path, mapped: bool) -> tuple[list[_Column], tuple[str, ...]]:
    table = read_table_text(path)
    if table.header is None and not mapped:
        remedy = "begin with a line like t_us,acc_x[m/s^2], or give imu_columns in recordings.csv"
        raise BadRecording(path, "no header: the first line holds numbers", remedy)
    if not table.rows:
        raise BadRecording(path, "zero length: no rows")
    header = table.header or tuple(f"column {n + 1}" for n in range(len(table.columns)))
    return [_text_column(table, n, name) for n, name in enumerate(header)], table.remarks


def _text_column(table: TextTable, n: int, header: str) -> _Column:
    name, unit = name_and_unit(header)
    return _Column(name, unit, header, partial(table.numbers, n, header or f"column {n + 1}"))


def _read_parquet(path: Path) -> tuple[list[_Column], tuple[str, ...]]:
    try:
        with pq.ParquetFile(path) as file:
            rows, columns = file.metadata.num_rows, file.metadata.num_columns
            if rows > MAX_ROWS or rows * columns > MAX_VALUES:  # run lengths pack any number into a few bytes
                problem = f"declares {rows} rows of {columns} columns, more than {MAX_ROWS} or {MAX_VALUES} values"
                raise BadRecording(path, problem, "cut it into recordings")
            table = file.read()
        names = [_decoded(path, table.schema, n) for n in range(len(table.schema))]
    except (pa.ArrowException, OSError) as error:
        raise BadRecording(path, f"not readable as {path.suffix}: {error}") from None
    if not len(table):
        raise BadRecording(path, "zero length: no rows")
    return [_parquet_column(path, table, n, name) for n, name in enumerate(names)], ()


def _decoded(path: Path, schema: pa.Schema, n: int) -> str:
    """Arrow keeps names as they are and decodes them only when asked."""
    try:
        name: str = schema.field(n).name
    except UnicodeDecodeError as error:
        problem = f"header: the name of column {n + 1} is not UTF-8: {error.object!r}"
        raise BadRecording(path, problem, "save the file as UTF-8") from None
    return name


def _parquet_column(path: Path, table: pa.Table, n: int, header: str) -> _Column:
    name, unit = name_and_unit(header)
    raw = (table.schema.field(n).metadata or {}).get(b"unit", b"")
    try:
        unit = unit or raw.decode()
    except UnicodeDecodeError:
        raise BadRecording(path, f"{header}: its unit is not UTF-8: {raw!r}", "write it anew") from None
    if pa.types.is_timestamp(table.schema.field(n).type):
        unit = unit or "us"
    return _Column(name, unit, header, partial(_parquet_numbers, path, table[n], header))


def _parquet_numbers(path: Path, column: pa.ChunkedArray, name: str) -> Numbers:
    try:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        elif pa.types.is_boolean(column.type) or pa.types.is_integer(column.type):
            column = column.cast(pa.int64())
        elif not pa.types.is_floating(column.type):
            raise BadRecording(path, f"{name}: holds {column.type}, not numbers")
        if column.null_count:
            raise BadRecording(path, f"{name}: row {column.is_null().index(True).as_py() + 1} is empty")
    except pa.ArrowException as error:
        raise BadRecording(path, f"{name}: {error}") from None
    values: Numbers = column.to_numpy()
    return values if values.dtype == np.int64 else values.astype(np.float64)


def _without_unnamed(path: Path, columns: Sequence[_Column]) -> tuple[list[_Column], tuple[str, ...]]:
    """Without what a separator at the end of each row leaves, and without the numbers of the rows."""
    kept, remarks = [], []
    for n, one in enumerate(columns):
        if one.name and one.name != "Unnamed: 0":
            kept.append(one)
            continue
        try:
            values = one.values()
        except BadRecording as error:
            if n == len(columns) - 1 and error.problem.endswith("row 1 is empty"):
                continue
            raise BadRecording(path, f"column {n + 1} has no name", "name it in the header") from None
        if not np.array_equal(values, np.arange(len(values))) or n:
            raise BadRecording(path, f"column {n + 1} has no name", "name it in the header")
        remarks.append("column 1 has no name and counts the rows: it was left out")
    return kept, tuple(remarks)


def _well_known(column: _Column) -> _Column:
    """phyphox's names, short: `Linear Acceleration x` -> `acc_x`."""
    found = _PHYPHOX.fullmatch(column.name)
    return replace(column, name=f"{_PHYPHOX_NAMES[column.name[0].lower()]}_{found[2].lower()}") if found else column


def _mapped(path: Path, columns: Sequence[_Column], mapping: str) -> list[_Column]:
    """The columns that `mapping` names, under the names that it gives them."""
    entries = [entry.strip() for entry in mapping.split(";") if entry.strip()]
    given = {name: one for one in columns for name in (one.source, one.name)}
    if not any("=" in entry for entry in entries):
        if len(entries) != len(columns):
            problem = f"imu_columns names {len(entries)} columns, the file has {len(columns)}"
            raise BadRecording(path, problem, f"name all of them, or some like this: {EXAMPLE}")
        pairs = list(zip(entries, columns, strict=True))
    else:
        pairs = []
        for entry in entries:
            new, _, old = (part.strip() for part in entry.partition("="))
            if old not in given:
                known = ", ".join(one.source for one in columns)
                raise BadRecording(path, f"imu_columns: no column {old!r} in the file", f"it has {known}")
            pairs.append((new, given[old]))
    found = []
    for new, column in pairs:
        name, unit = name_and_unit(new)
        found.append(replace(column, name=name, unit=unit or column.unit))
    return found


def _check_twice(path: Path, columns: Sequence[_Column]) -> None:
    for n, one in enumerate(columns):
        for other in columns[:n]:
            if one.name == other.name:
                if one.source == other.source:
                    raise BadRecording(path, f"column {one.source} is there twice")
                both = f"{other.unit or other.source} and {one.unit or one.source}"
                raise BadRecording(path, f"channel {one.name} is there twice, in {both}", "give each its own name")


def _clock(path: Path, columns: Sequence[_Column]) -> tuple[_Column, list[str]]:
    """The column of time, and others of time, which are left out; its unit is '' if the name does not say it."""
    clocks = []
    for one in columns:
        found = _TIME.fullmatch(one.name.lower())
        if found and (not one.unit or time_unit(one.unit)):
            by_name = "s" if one.name.lower() == "seconds_elapsed" else found[1] or ""
            clocks.append(replace(one, unit=time_unit(one.unit) or time_unit(by_name) or ""))
    if not clocks:
        known = ", ".join(one.source for one in columns)
        remedy = f"it has {known}; name one t_us, t_ms, t_s or t_ns, or give imu_columns in recordings.csv: {EXAMPLE}"
        raise BadRecording(path, "no column of time", remedy)
    clock = next((one for one in clocks if one.unit), clocks[0])
    return clock, [one.source for one in clocks if one.source != clock.source]


def _times(path: Path, clock: _Column) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    raw = clock.values()
    steps = raw[1:] - raw[:-1]
    if len(steps) and steps.min() < 0:
        n = int(np.argmax(steps < 0)) + 1
        problem = f"{clock.source}: row {n + 1} at {raw[n]} does not come after {raw[n - 1]}"
        raise BadRecording(path, problem, "sort the rows by time, or cut the recording where its clock begins anew")
    time, remark = microseconds(path, clock.source, raw, clock.unit or None)
    return time, (remark,) if remark else ()


def _in_si(path: Path, channels: Sequence[_Column]) -> tuple[npt.NDArray[np.float32], tuple[str, ...], tuple[str, ...]]:
    """Values (n, channels), their units, and a remark for each unit that was converted."""
    values, units, remarks = [], [], []
    for one in channels:
        unit, numbers = si_unit(one.unit), one.values()
        wrong = np.flatnonzero(~np.isfinite(numbers) | (np.abs(numbers.astype(np.float64)) > MAX_VALUE))
        if len(wrong):
            raise BadRecording(path, f"{one.source}: row {wrong[0] + 1} is {numbers[wrong[0]]}")
        if unit.factor != 1:
            numbers = numbers.astype(np.float64) * unit.factor
            remarks.append(f"{one.name} was converted from {one.unit} to {unit.name}")
        values.append(numbers.astype(np.float32))
        units.append(unit.name)
    return np.column_stack(values), tuple(units), tuple(remarks)


def _once(
    path: Path, clock: str, time: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], tuple[str, ...]]:
    """Without rows that repeat the one before. Raises BadRecording for different rows of the same time."""
    again = np.flatnonzero(np.diff(time) == 0) + 1
    if not len(again):
        return time, values, ()
    different = again[(values[again] != values[again - 1]).any(axis=1)]
    if len(different):
        n = int(different[0])
        problem = f"{clock}: row {n + 1} at {time[n]} us does not come after row {n}, which has the same time"
        raise BadRecording(path, f"{problem} and other values", "the clock is too coarse, or two recordings are mixed")
    kept = np.ones(len(time), bool)
    kept[again] = False
    return time[kept], values[kept], (f"{len(again)} rows repeat the one before and were left out",)
