"""Events that others exported: NumPy, HDF5 and text give the events that were written, or the true reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording
from tests.data.event_bytes import (
    aedat2_bytes,
    aedat3_bytes,
    dat_bytes,
    events_from,
    evt2_words,
    evt3_words,
    evt21_bytes,
    raw,
)
from tests.data.small_files import write_camera

SIZE = (64, 48)
T = 5_000_000 + 100 * np.arange(300)
X, Y, P = np.arange(300) % 64, np.arange(300) % 48, np.arange(300) // 3 % 2
FIELDS = np.zeros(300, [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
FIELDS["t"], FIELDS["x"], FIELDS["y"], FIELDS["p"] = T, X, Y, P


def check(path: Path, size: tuple[int, int] | None = SIZE, times: Any = T) -> Events:
    events = read(path, "events", size=size)
    assert isinstance(events, Events)
    assert events.events["t"].tolist() == list(times)
    for name, column in (("x", X), ("y", Y), ("p", P)):
        assert events.events[name].tolist() == column.tolist()
    assert (events.width, events.height) == SIZE
    return events


ARRAYS = {
    "fields": FIELDS,
    "t, x, y, p": np.column_stack([T, X, Y, P]),
    "x, y, t, p": np.column_stack([X, Y, T, P]),
    "x, y, p, t": np.column_stack([X, Y, P, T]),
    "polarities of -1 and 1": np.column_stack([T, X, Y, 2 * P - 1]),
    "floats of us": np.column_stack([T, X, Y, P]).astype(float),
    "columns in memory": np.asfortranarray(np.column_stack([T, X, Y, P])),
    "seconds": np.column_stack([T / 1e6, X, Y, P]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_gives_the_events_in_whichever_order_its_columns_are(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "a.npy", ARRAYS[name])
    events = check(tmp_path / "a.npy")
    assert events.remarks == (("t: taken as seconds, since it has decimals",) if name == "seconds" else ())


@pytest.mark.parametrize(
    "arrays",
    [
        {"t": T, "x": X, "y": Y, "p": P},
        {"timestamps": T, "xs": X, "ys": Y, "polarity": P, "label": np.array(3)},
        {"t_ns": T * 1000, "x": X, "y": Y, "on": P.astype(bool)},
        {"events": FIELDS},
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_gives_the_events_by_the_names_of_its_arrays(tmp_path: Path, arrays: dict[str, Any], save: Any) -> None:
    save(tmp_path / "a.npz", **arrays)
    check(tmp_path / "a.npz")


ROWS = list(zip(T.tolist(), X.tolist(), Y.tolist(), P.tolist(), strict=True))
TEXTS = {
    "seconds, as RPG writes them": "".join(f"{t / 1e6:.9f} {x} {y} {p}\n" for t, x, y, p in ROWS),
    "us": "".join(f"{t} {x} {y} {p}\n" for t, x, y, p in ROWS),
    "Metavision's CSV": "".join(f"{x},{y},{p},{t}\n" for t, x, y, p in ROWS),
    "a header": "t,x,y,on\n" + "".join(f"{t},{x},{y},{p}\n" for t, x, y, p in ROWS),
    "a unit": "x;y;time[ns];polarity\n" + "".join(f"{x};{y};{t}000;{p}\n" for t, x, y, p in ROWS),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_text_gives_the_events(tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text(TEXTS[name])
    check(tmp_path / f"a{suffix}")


def write_h5(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


def test_dsec_s_offset_is_added_to_its_times(tmp_path: Path) -> None:
    offset = 49_599_300_523
    columns = {"events__t": (T - T[0]).astype("<u4"), "events__x": X, "events__y": Y, "events__p": P.astype("u1")}
    write_h5(tmp_path / "a.h5", **columns, t_offset=offset, ms_to_idx=np.arange(30))
    check(tmp_path / "a.h5", times=T - T[0] + offset)


@pytest.mark.parametrize(
    "datasets",
    [
        {"t": T, "x": X, "y": Y, "p": P},
        {"events__ts": T / 1e6, "events__xs": X, "events__ys": Y, "events__ps": P.astype(bool)},
        {"CD__events": FIELDS, "CD__indexes": np.zeros(3, [("id", "<i8"), ("ts", "<i8")])},
        {"davis__left__events": np.column_stack([X, Y, T / 1e6, 2 * P - 1])},
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_the_usual_layouts_of_hdf5_are_found(tmp_path: Path, datasets: dict[str, Any], suffix: str) -> None:
    check(write_h5(tmp_path / f"a{suffix}", **datasets))


def test_an_hdf5_file_may_say_the_size_itself(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", CD__events=FIELDS)
    with h5py.File(path, "a") as file:
        file.attrs["geometry"] = "64x48"
    check(path, size=None)


def test_events_of_two_cameras_in_one_file_are_refused(tmp_path: Path) -> None:
    columns = np.column_stack([X, Y, T / 1e6, P])
    path = write_h5(tmp_path / "a.h5", davis__left__events=columns, davis__right__events=columns)
    with pytest.raises(BadRecording, match=r"holds events in davis/left/events, davis/right/events \(cut it into"):
        read(path, "events", size=SIZE)


def test_an_hdf5_file_without_events_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"holds no events; it has frames"):
        read(write_h5(tmp_path / "a.h5", frames=np.zeros((3, 4))), "events", size=SIZE)


def npy_with(shape: str, descr: str = "'<i8'") -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 4), np.int64))
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return file.getvalue()[:8] + len(head).to_bytes(2, "little") + head + bytes(64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy_with("(1000000000000, 4)"), "truncated: the header promises 32000000000000 bytes, 64 are there"),
        (npy_with("(2, 4)", "'|O'"), "holds Python objects, which are not read"),
        (npy_with("(0, 4)"), "zero length: no events"),
        (npy_with("(8,)"), r"an array of shape \(8,\) is not \(events, 4\)"),
        (npy_with("(2, 4)"), "the columns have no names and fit txyp and xytp and xypt"),
        (npy_with("(2, 4"), "not readable as .npy"),
    ],
)
def test_a_damaged_npy_file_is_refused_before_memory_is_taken(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(BadRecording, match=message):
        read(tmp_path / "a.npy", "events", size=SIZE)


def test_values_that_repeat_themselves_beyond_reason_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", t=np.zeros(3_000_000, np.int64), x=X, y=Y, p=P)
    with pytest.raises(BadRecording, match=r"t\.npy: 24,000,128 bytes packed into .*, more than recorded"):
        read(tmp_path / "a.npz", "events", size=SIZE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "txyp":
            file.create_dataset(name, (90_000_000,), "<i8", chunks=(10_000,), fillvalue=1)
    with pytest.raises(BadRecording, match=r"/\w: declares 720,000,000 bytes, 0 are in the file"):
        read(tmp_path / "a.h5", "events", size=SIZE)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("x", X - 1, "x: event 0 has -1, not a pixel from 0 to 4095"),
        ("y", Y + 70_000, "y: event 0 has 70000, not a pixel"),
        ("x", X + 0.5, r"x: event 0 has 0\.5, not a pixel"),
        ("p", P + 1, r"p: event 3 has 2 \(a polarity is 0 or 1, or -1 or 1\)"),
        ("t", np.where(np.arange(300) == 7, np.nan, T), "t: event 7 has nan"),
        ("t", T[::-1], "t: event 1 at 5029800 us comes after one at 5029900 us"),
        ("t", T[:-1], "columns of different lengths"),
        ("x", X + 1, "x: event 63 has 64, outside the 64 x 48 sensor"),
    ],
)
def test_values_that_no_sensor_gives_are_named(tmp_path: Path, column: str, values: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", **({"t": T, "x": X, "y": Y, "p": P} | {column: values}))
    with pytest.raises(BadRecording, match=message):
        read(tmp_path / "a.npz", "events", size=SIZE)


def test_a_file_that_does_not_say_the_size_asks_for_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FIELDS)
    with pytest.raises(BadRecording, match=r"does not say the sensor's size \(give it in the column events_size"):
        read(tmp_path / "a.npy", "events")


def test_a_ros_bag_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"unknown suffix '\.bag' for events \(export the events, e\.g\. with .*ros"):
        read(tmp_path / "a.bag", "events")
    (tmp_path / "a.txt").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BadRecording, match="the file holds a rosbag, not text"):
        read(tmp_path / "a.txt", "events")


def _whole(folder: Path) -> dict[str, bytes]:
    """A file of each format."""
    np.save(folder / "a.npy", FIELDS[:30])
    np.savez_compressed(folder / "a.npz", t=T, x=X, y=Y, p=P)
    write_h5(folder / "a.h5", t=T[:30], x=X[:30], y=Y[:30], p=P[:30])
    write_camera(folder / "a.aedat4")
    write_camera(folder / "a.es")
    made = {path.name: path.read_bytes() for path in folder.glob("a.*")}
    small = [(t, x % 64, y % 48, p) for t, x, y, p in events_from(9000, 40)]
    return made | {
        "2.raw": raw(2, evt2_words(small)),
        "3.raw": raw(3, evt3_words(small)),
        "21.raw": evt21_bytes([(t, x, y, p, 7) for t, x, y, p in small], legacy=True),
        "2.aedat": aedat2_bytes([(5 << 8 | 3 << 1, k) for k in range(40)]),
        "3.aedat": aedat3_bytes([[(k, 3, 5, 1, 1) for k in range(40)]] * 2),
        "a.dat": dat_bytes(small),
        "a.txt": TEXTS["us"][:300].encode(),
    }


CHANGES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=5)


NAMES = [
    "a.npy",
    "a.npz",
    "a.h5",
    "a.aedat4",
    "a.es",
    "a.dat",
    "a.txt",
    "2.raw",
    "3.raw",
    "21.raw",
    "2.aedat",
    "3.aedat",
]


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 5000), CHANGES)
@pytest.mark.parametrize(
    "name",
    ["a.npy", "a.npz", "a.h5", "a.aedat4", "a.es", "2.raw", "3.raw", "21.raw", "2.aedat", "3.aedat", "a.dat", "a.txt"],
)
def test_whatever_is_cut_or_changed_gives_events_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, name: str, cut: int, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "whole"
    if not folder.exists():
        folder.mkdir()
        for one, data in _whole(folder).items():
            (folder / f"{one}.whole").write_bytes(data)
    whole = (folder / f"{name}.whole").read_bytes()
    data = bytearray(whole[: max(1, len(whole) - cut % len(whole))])
    for at, value in changes:
        data[at % len(data)] = value
    (folder / name).write_bytes(data)
    try:
        events = read(folder / name, "events", size=None if name[0] in "23" else SIZE)
    except BadRecording:
        return
    assert isinstance(events, Events) and len(events.events)
    assert (np.diff(events.events["t"]) >= 0).all() and events.events["p"].max() <= 1
    assert (events.events["x"] < events.width).all() and (events.events["y"] < events.height).all()
