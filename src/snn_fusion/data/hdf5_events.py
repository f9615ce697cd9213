"""Events in HDF5: groups with datasets t, x, y, p (DSEC), ts, xs, ys, ps (RPG), or a table (Prophesee, MVSEC)."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.event_arrays import ROLES, by_names, by_order
from snn_fusion.data.events import Found, Size, not_too_many
from snn_fusion.data.recording import MAX_EVENTS
from snn_fusion.errors import BadRecording

MAX_RATIO = 200  # of compression, as in a .npz
SMALL = 1 << 24
_FILTERS = {32001: "Blosc", 32004: "LZ4", 32015: "Zstandard", 36559: "Prophesee's ECF", 32026: "Blosc2"}


def read_hdf5(path: Path) -> Found:
    """Events of an HDF5 file; a `t_offset` (us) beside them is added to their times.

    Raises BadRecording if the file is not HDF5 or damaged, holds no events or those of several cameras, or is packed
    by a filter that is not installed.
    """
    import h5py  # takes 0.2 s

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # adds filters, where a user has it
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except BadRecording:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError and more for damaged files
        raise BadRecording(path, f"not readable as HDF5: {str(error)[:200]}") from None


def _read(path: Path, file: Any) -> Found:
    places = list(_places(file))
    if len(places) != 1:
        found = f"events in {', '.join(places)}" if places else f"no events; it has {', '.join(_names(file))[:200]}"
        remedy = "cut it into files of one camera" if places else "expected datasets t, x, y and p in a group"
        raise BadRecording(path, f"holds {found}", remedy)
    size, item = _size(file, places[0]), file[places[0]]
    if not hasattr(item, "shape"):
        columns = {name: _values(path, one) for name, one in _columns(item).items()}
        return by_names(path, columns, size, _offset(file, places[0]))
    table = _values(path, item)
    if table.dtype.names:
        return by_names(path, {name: table[name] for name in table.dtype.names}, size, _offset(file, places[0]))
    return by_order(path, table, size)


def _items(file: Any) -> dict[str, Any]:
    """All groups and datasets by name, the root as /. Links out of the file are not followed."""
    items: dict[str, Any] = {"/": file}
    file.visititems(lambda name, item: items.__setitem__(name, item))
    return items


def _names(file: Any) -> list[str]:
    return [name for name in _items(file) if name != "/"] or ["nothing"]


def _places(file: Any) -> Iterator[str]:
    """The groups that hold columns of events and the datasets that are tables of them."""
    for name, item in _items(file).items():
        if not hasattr(item, "shape"):
            if len(_columns(item)) == len(ROLES):
                yield name
        elif (fields := item.dtype.names) is not None:
            if all(any(field.lower() in names for field in fields) for names in ROLES.values()):
                yield name
        elif len(item.shape) == 2 and item.shape[1] == 4 and name.rpartition("/")[2] in ("events", "event", "data"):
            yield name


def _columns(group: Any) -> dict[str, Any]:
    """The datasets of a group that are columns of events, one a role."""
    names = {name for role in ROLES.values() for name in role}
    there = [
        name
        for name in group
        if name.lower() in names and group.get(name, getlink=True).__class__.__name__ == "HardLink"
    ]
    return {name: group[name] for name in there if len(getattr(group[name], "shape", ())) == 1}


def _values(path: Path, dataset: Any) -> npt.NDArray[Any]:
    """A dataset's values. Raises BadRecording, before memory is taken, for more than the file can hold."""
    import h5py

    plist = dataset.id.get_create_plist()
    for n in range(plist.get_nfilters()):
        code = plist.get_filter(n)[0]
        if not h5py.h5z.filter_avail(code):
            name = _FILTERS.get(code, "unknown")
            remedy = "pip install hdf5plugin" if code != 36559 else "convert it to .raw with Prophesee's tools"
            raise BadRecording(
                path, f"{dataset.name}: packed by the HDF5 filter {code} ({name}), which is not installed", remedy
            )
    if dataset.external or dataset.is_virtual:
        raise BadRecording(path, f"{dataset.name}: lies in other files", "copy it into this one")
    if dataset.dtype.hasobject:
        raise BadRecording(path, f"{dataset.name}: holds {dataset.dtype}, not numbers")
    not_too_many(path, dataset.shape[0] if dataset.shape else 1)
    size, packed = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size > max(SMALL, MAX_RATIO * packed) or size > MAX_EVENTS * 64:
        problem = f"{dataset.name}: declares {size:,} bytes, {packed:,} are in the file"
        raise BadRecording(path, problem, "events do not repeat themselves that often: see how it was made")
    values: npt.NDArray[Any] = dataset[()]
    return values


def _offset(file: Any, place: str) -> int:
    """`t_offset` (us) in the group of the events or at the root, as in DSEC."""
    parent = place.rpartition("/")[0] or "/"
    for group in dict.fromkeys((place, parent, "/")):
        item = file[group]
        if not hasattr(item, "shape") and "t_offset" in item:
            return int(np.asarray(item["t_offset"]).reshape(-1)[0])
    return 0


def _size(file: Any, place: str) -> Size | None:
    """The sensor's size by attributes `geometry` (1280x720) or `width` and `height`, None without."""
    for group in dict.fromkeys((place, place.rpartition("/")[0] or "/", "/")):
        attributes = file[group].attrs
        geometry = attributes.get("geometry", "")
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else str(geometry)
        if found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text):
            return int(found[1]), int(found[2])
        if "width" in attributes and "height" in attributes:
            return int(attributes["width"]), int(attributes["height"])
    return None
