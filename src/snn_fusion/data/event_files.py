"""Events that others have exported: NumPy (.npy, .npz), HDF5 (DSEC, Prophesee, RPG, MVSEC) and text."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.contents import kind_of
from snn_fusion.data.event_arrays import ROLES, by_names, by_order
from snn_fusion.data.events import Found, Size, checked, not_too_many
from snn_fusion.data.hdf5_events import read_hdf5
from snn_fusion.data.recording import Events
from snn_fusion.data.text_table import TextTable, encoding_of, read_table_text
from snn_fusion.data.units import name_and_unit
from snn_fusion.errors import BadRecording

MAX_RATIO = 200  # of compression; events do not repeat themselves that often
SMALL = 1 << 24  # bytes that may be packed as tightly as they like


def read_event_file(path: Path, size: Size | None = None) -> Events:
    """Read events that were exported as columns; times are those of the file, in us.

    `size` is the sensor's width and height where the file does not say. Raises BadRecording if the file is empty, cut
    short or not of its format, if columns cannot be told apart, or an event is outside the sensor or out of order.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise BadRecording(path, "zero length: the file is empty")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        found = _of_array(path, _npy(path, path.read_bytes()))
    elif suffix == ".npz":
        found = _read_npz(path)
    elif suffix in (".h5", ".hdf5"):
        found = read_hdf5(path)
    else:
        if (kind := kind_of(head)) is not None:
            raise BadRecording(path, f"the file holds {kind}, not text")
        found = _of_table(path, read_table_text(path))
    return checked(path, found, size)


def is_event_table(path: Path) -> bool:
    """Whether a text file has the columns of events, by its header, or by four numbers in its first line."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    lines = head.decode(encoding_of(head), errors="replace").splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith(("#", "%", "sep="))), "")
    names = [name_and_unit(cell.strip('"'))[0].lower() for cell in re.split(r"[,;\t ]+", first.strip())]
    named = all(any(name in role for name in names) for role in ROLES.values())
    return named or (len(names) == 4 and all(re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", name) for name in names))


def _of_table(path: Path, table: TextTable) -> Found:
    if not table.rows:
        raise BadRecording(path, "zero length: no events")
    not_too_many(path, table.rows)
    names = table.header or tuple(f"column {n + 1}" for n in range(len(table.columns)))
    columns = {name: table.numbers(n, name) for n, name in enumerate(names)}
    found = by_names(path, columns) if table.header else by_order(path, np.column_stack(list(columns.values())))
    return found._replace(remarks=(*table.remarks, *found.remarks))


def _of_array(path: Path, array: npt.NDArray[Any]) -> Found:
    if array.dtype.names:
        if array.ndim != 1:
            raise BadRecording(path, f"an array of shape {array.shape} is not (events,)")
        return by_names(path, {name: array[name] for name in array.dtype.names})
    return by_order(path, array)


def _npy(path: Path, data: bytes) -> npt.NDArray[Any]:
    """The array in a .npy file, without objects. Raises BadRecording if it is not as long as its header says."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = header(file)
        count = math.prod(shape)
    except Exception as error:  # the header is a Python literal, and there are many ways for it not to be one
        raise BadRecording(path, f"not readable as {path.suffix}: {str(error)[:200]}") from None
    if dtype.hasobject:
        raise BadRecording(path, "holds Python objects, which are not read", "save arrays of numbers")
    promised, there = count * dtype.itemsize, len(data) - file.tell()
    if promised > there or min(shape, default=0) < 0:
        raise BadRecording(path, f"truncated: the header promises {promised} bytes, {there} are there")
    if not count:
        raise BadRecording(path, "zero length: no events")
    return np.frombuffer(data, dtype, count, file.tell()).reshape(shape, order="F" if by_column else "C")


def _read_npz(path: Path) -> Found:
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for one in archive.infolist():
                if one.filename.endswith(".npy"):
                    too_tight(path, one.filename, one.file_size, one.compress_size)
                    arrays[one.filename.removesuffix(".npy")] = _npy(path, archive.read(one))
    except BadRecording:
        raise
    except Exception as error:  # zipfile raises what its decompressors raise
        raise BadRecording(path, f"not readable as .npz: {str(error)[:200]}") from None
    if not arrays:
        raise BadRecording(path, "holds no arrays", "save t, x, y and p as arrays")
    if len(arrays) == 1:
        return _of_array(path, next(iter(arrays.values())))
    return by_names(path, {name: array for name, array in arrays.items() if array.ndim == 1})


def too_tight(path: Path, name: str, size: int, packed: int) -> None:
    """Raises BadRecording for what would take far more memory than recorded events packed into so few bytes."""
    if size > SMALL and size > MAX_RATIO * packed:
        problem = f"{name}: {size:,} bytes packed into {packed:,}, more than recorded events can be"
        raise BadRecording(path, problem, "it holds one value over and over: see how it was made")
    if size > 1 << 31:
        raise BadRecording(path, f"{name}: {size:,} bytes", "cut it into recordings")
