"""N-MNIST's .bin and the event cameras' own formats (files written by faery itself)."""

from __future__ import annotations

from pathlib import Path

import faery
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording
from tests.data.small_files import bin_bytes, write_bin

EVENT_LISTS = st.lists(
    st.tuples(st.integers(0, 2**23 - 1), st.integers(0, 33), st.integers(0, 33), st.integers(0, 1)), min_size=1
)


def read_events(path: Path, size: tuple[int, int] | None = None) -> Events:
    events = read(path, "events", size=size)
    assert isinstance(events, Events)
    return events


@given(EVENT_LISTS)
def test_every_bin_event_comes_back(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, ...]]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.bin"
    events.sort(key=lambda event: event[0])
    path.write_bytes(bin_bytes(events))  # type: ignore[arg-type]
    found = read_events(path)
    assert [tuple(map(int, event)) for event in found.events] == events
    assert (found.width, found.height) == (34, 34)


def test_bin_times_are_kept_as_they_are(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "a.bin", [(25_812, 0, 0, 1), (25_900, 1, 1, 0)])
    assert read_events(path).events["t"].tolist() == [25_812, 25_900]


def test_overflow_marks_add_time_and_are_no_events(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "a.bin", [(8000, 1, 1, 1), (8191, 0, 240, 0), (5, 2, 2, 0)])
    found = read_events(path)
    assert found.events["t"].tolist() == [8000, 8192 + 5]
    assert found.events["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bin_bytes([(1, 2, 3, 1)] * 4)[:-2], r"truncated: 18 bytes is not a multiple of 5"),
        (b"", "zero length: no events"),
        (bin_bytes([(1, 2, 3, 1), (2, 34, 0, 0)]), "x: event 1 has 34, outside the 34 x 34 sensor"),
        (bin_bytes([(1, 2, 200, 1)]), "y: event 0 has 200, outside the 34 x 34 sensor"),
        (bin_bytes([(9, 0, 0, 0), (10, 0, 0, 0), (8, 0, 0, 0)]), "t: event 2 at 8 us comes after one at 10 us"),
    ],
)
def test_a_damaged_bin_names_file_field_and_first_wrong_event(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(content)
    with pytest.raises(BadRecording, match=rf"bad\.bin: {message}"):
        read(path, "events")


def test_the_size_of_another_sensor_can_be_given(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "a.bin", [(1, 100, 90, 1)])
    assert read_events(path, (128, 128)).width == 128


def camera_events() -> npt.NDArray[np.void]:
    events = np.zeros(500, faery.EVENTS_DTYPE)
    events["t"] = 5_000_000 + np.sort(np.random.default_rng(0).integers(0, 300_000, 500))
    events["x"], events["y"] = np.arange(500) % 64, np.arange(500) % 48
    events["on"] = np.arange(500) % 3 == 0
    return events


def write_camera(path: Path, version: str | None = None, **more: object) -> Path:
    stream = faery.events_stream_from_array(camera_events(), (64, 48))
    stream.to_file(path, version=version, **more)
    return path


CAMERA_FILES = [
    ("a.aedat4", None),
    ("evt2.raw", "evt2"),
    ("evt3.raw", "evt3"),
    ("a.dat", "dat2"),
    ("a.es", None),
]


@pytest.mark.parametrize(("name", "version"), CAMERA_FILES)
def test_every_camera_format_gives_the_same_events_from_time_0(tmp_path: Path, name: str, version: str | None) -> None:
    found = read_events(write_camera(tmp_path / name, version))
    expected = camera_events()
    assert (found.width, found.height) == (64, 48)
    assert found.events["t"].tolist() == (expected["t"] - expected["t"][0]).tolist()
    for ours, theirs in (("x", "x"), ("y", "y"), ("p", "on")):
        assert found.events[ours].tolist() == expected[theirs].astype(int).tolist()


@pytest.mark.parametrize(("name", "version"), CAMERA_FILES)
def test_an_empty_camera_file_is_refused(tmp_path: Path, name: str, version: str | None) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BadRecording, match=f"{name}: zero length"):
        read(tmp_path / name, "events")


@pytest.mark.parametrize(("name", "version"), [c for c in CAMERA_FILES if c[0].endswith(("raw", "dat", "aedat4"))])
def test_a_camera_file_cut_in_the_middle_of_a_word_is_refused(tmp_path: Path, name: str, version: str | None) -> None:
    path = write_camera(tmp_path / name, version)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 8 * 8 + 1] if name.endswith("aedat4") else data[:-1])
    with pytest.raises(BadRecording, match=rf"{name}: (truncated|not readable)"):
        read(path, "events")


def test_bytes_that_are_no_recording_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0\r\n" + bytes(range(256)) * 4)
    with pytest.raises(BadRecording, match=r"a\.aedat4: not readable as \.aedat4: "):
        read(path, "events")


def test_a_raw_file_without_a_size_asks_for_the_column(tmp_path: Path) -> None:
    data = write_camera(tmp_path / "a.raw", "evt3").read_bytes()
    lines = data.split(b"\n")
    kept = [line for line in lines if not line.startswith((b"% format", b"% geometry"))]
    path = tmp_path / "b.raw"
    path.write_bytes(b"\n".join(kept))
    with pytest.raises(BadRecording, match=r"does not say the sensor's size \(give it in the column events_size"):
        read(path, "events")
    assert read_events(path, (64, 48)).height == 48


def test_a_size_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"the file says 64x48, recordings\.csv 34x34"):
        read(write_camera(tmp_path / "a.raw", "evt2"), "events", size=(34, 34))
