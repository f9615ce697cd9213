"""Events as columns of numbers: which is which, the unit of time, and what a value may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import Found, Size, as_events, not_too_many
from snn_fusion.data.recording import MAX_SIDE
from snn_fusion.data.units import EPOCH, MAX_US, TIME_UNITS, name_and_unit, time_unit
from snn_fusion.errors import BadRecording

Column = npt.NDArray[Any]
ROLES = {
    "t": (
        "t",
        "ts",
        "time",
        "times",
        "timestamp",
        "timestamps",
        "t_us",
        "t_ms",
        "t_s",
        "t_ns",
        "time_us",
        "timestamp_us",
    ),
    "x": ("x", "xs", "x_pos", "col"),
    "y": ("y", "ys", "y_pos", "row"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "on"),
}
ORDERS = ("txyp", "xytp", "xypt")  # of columns without names: text of RPG, NumPy of Tonic, Metavision's CSV
MAX_SECONDS = 100_000.0  # of a recording whose times have decimals


def by_names(path: Path, columns: Mapping[str, Column], size: Size | None = None, offset_us: int = 0) -> Found:
    """Events of columns (n,) whose names, perhaps with a unit of time, say what they are."""
    picked, unit = {}, None
    for name, column in columns.items():
        plain, said = name_and_unit(name)
        role = next((role for role, names in ROLES.items() if plain.lower() in names), None)
        if role is None:
            continue
        if role in picked:
            raise BadRecording(path, f"two columns could be {role}: {', '.join(columns)}", "keep one of them")
        picked[role] = column
        if role == "t":
            unit = time_unit(said) or time_unit(plain.lower().rpartition("_")[2])
    if missing := [role for role in ROLES if role not in picked]:
        known = ", ".join(columns)
        raise BadRecording(path, f"no column {missing[0]} of events", f"it has {known}; name them t, x, y and p")
    return _events(path, picked, unit, size, offset_us)


def by_order(path: Path, columns: Column, size: Size | None = None) -> Found:
    """Events of an array (n, 4) without names; the order of the columns is the one that their values allow."""
    if columns.ndim != 2 or columns.shape[1] != 4:
        remedy = "save t, x, y, p as four columns, or as fields or arrays of these names"
        raise BadRecording(path, f"an array of shape {columns.shape} is not (events, 4)", remedy)
    if not len(columns):
        raise BadRecording(path, "zero length: no events")
    fitting = [order for order in ORDERS if _fits({role: columns[:, n] for n, role in enumerate(order)})]
    if len(fitting) != 1:
        problem = "the columns have no names and " + ("fit no order" if not fitting else f"fit {' and '.join(fitting)}")
        raise BadRecording(path, f"{problem} of {', '.join(ORDERS)}", "name them: a header t,x,y,p, or fields")
    return _events(path, {role: columns[:, n] for n, role in enumerate(fitting[0])}, None, size, 0)


def _fits(of: Mapping[str, Column]) -> bool:
    """Whether time does not go back and is not a place, places lie on a sensor, and there are two polarities."""
    places = all(np.all((of[axis] >= 0) & (of[axis] < MAX_SIDE) & (of[axis] % 1 == 0)) for axis in ("x", "y"))
    polarities = set(np.unique(of["p"]).tolist())
    in_order = bool(np.all(of["t"][1:] >= of["t"][:-1]))
    return places and in_order and (polarities <= {0, 1} or polarities <= {-1, 1})


def _events(path: Path, of: Mapping[str, Column], unit: str | None, size: Size | None, offset_us: int) -> Found:
    lengths = {role: len(column) for role, column in of.items()}
    if len(set(lengths.values())) > 1:
        raise BadRecording(path, f"columns of different lengths: {lengths}", "an event has a value in each")
    not_too_many(path, lengths["t"])
    for role, column in of.items():
        if column.ndim != 1 or column.dtype.kind not in "iufb":
            raise BadRecording(path, f"{role}: holds {column.dtype} of shape {column.shape}, not a column of numbers")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            n = int(np.argmin(np.isfinite(column)))
            raise BadRecording(path, f"{role}: event {n} has {column[n]}")
    for axis in ("x", "y"):
        if (wrong := (of[axis] < 0) | (of[axis] >= MAX_SIDE) | (of[axis] % 1 != 0)).any():
            n = int(np.argmax(wrong))
            raise BadRecording(path, f"{axis}: event {n} has {of[axis][n]}, not a pixel from 0 to {MAX_SIDE - 1}")
    p = of["p"].astype(np.int64)
    if (wrong := (p < -1) | (p > 1) | (of["p"] % 1 != 0 if of["p"].dtype.kind == "f" else False)).any():
        n = int(np.argmax(wrong))
        raise BadRecording(path, f"p: event {n} has {of['p'][n]}", "a polarity is 0 or 1, or -1 or 1")
    time, remarks = _microseconds(path, of["t"], unit)
    return Found(as_events(time + offset_us, of["x"], of["y"], p > 0), size, remarks)


def _microseconds(path: Path, time: Column, unit: str | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Whole numbers are us (ns where they are a date in ns), decimals are seconds, if no name says it."""
    remarks: tuple[str, ...] = ()
    if not len(time):
        return np.zeros(0, np.int64), ()
    if time.dtype.kind == "f" and bool(np.all(time % 1 == 0)) and float(np.abs(time).max()) < 2**53:
        time = time.astype(np.int64)
    if unit is None:
        unit = "us" if time.dtype.kind in "iu" else "s"
        low, high = EPOCH["ns"]
        if unit == "us" and low <= float(time[0]) < high:
            unit, remarks = "ns", ("t: taken as ns, by its date",)
        if unit == "s":
            remarks = ("t: taken as seconds, since it has decimals",)
            if float(time.max() - time.min()) > MAX_SECONDS:
                problem = f"t: {time[0]} to {time[-1]} would be {float(time[-1] - time[0]):,.0f} s"
                raise BadRecording(path, problem, "name the column by its unit: t_us, t_ms, t_s or t_ns")
    if float(np.abs(time.astype(np.float64)).max()) * TIME_UNITS[unit] > MAX_US:
        raise BadRecording(path, f"t: {time.max()} is beyond any clock")
    if time.dtype.kind == "f":
        return np.rint(time * TIME_UNITS[unit]).astype(np.int64), remarks
    whole = time.astype(np.int64)
    return whole // 1000 if unit == "ns" else whole * int(TIME_UNITS[unit]), remarks
