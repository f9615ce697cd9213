"""N-MNIST's .bin and the event cameras' own formats (files written by faery itself)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import faery
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.data.cameras import _panics_unseen
from snn_fusion.data.readers import read
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording
from tests.data.small_files import bin_bytes, camera_events, write_bin, write_camera

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


@pytest.mark.parametrize("cut", [1, 3, 5, 999])
@pytest.mark.parametrize(("name", "version"), CAMERA_FILES)
def test_a_camera_file_cut_in_the_middle_of_a_word_is_refused(
    tmp_path: Path, name: str, version: str | None, cut: int
) -> None:
    path = write_camera(tmp_path / name, version)
    end = 1 if name == "a.es" and cut == 5 else cut  # five bytes are an event of .es
    path.write_bytes(path.read_bytes()[:-end])
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


def test_a_cut_aedat4_file_without_compression_is_refused(tmp_path: Path) -> None:
    path = write_camera(tmp_path / "a.aedat4", compression=None)
    data = path.read_bytes()
    for cut in (1, 3, 5, 200, len(data) - 30):
        path.write_bytes(data[:-cut])
        with pytest.raises(BadRecording, match=r"a\.aedat4: not readable as \.aedat4: truncated"):
            read(path, "events")


def in_order(name: str, version: str | None, tmp_path: Path) -> bytearray:
    return bytearray(write_camera(tmp_path / name, version, **({} if version else {"compression": None})).read_bytes())


def exchange(data: bytearray, one: int, other: int, size: int) -> None:
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


def aedat4_out_of_order(tmp_path: Path, codec: str | None) -> Path:
    """Events 100 and 200 exchanged, then packed by `codec`."""
    data = in_order("a.aedat4", None, tmp_path)
    first = data.index(struct.pack("<q", int(camera_events()["t"][0])))
    exchange(data, first + 16 * 100, first + 16 * 200, 16)
    if codec:
        begin = 18 + int.from_bytes(data[14:18], "little")
        stream, length = struct.unpack_from("<iI", data, begin)
        packed = pa.compress(bytes(data[begin + 8 : begin + 8 + length]), codec, asbytes=True)
        table = 18 + int.from_bytes(data[18:22], "little")
        struct.pack_into("<i", data, table + 4, 1 if codec == "lz4" else 3)
        struct.pack_into("<q", data, table + 12, -1)  # no table of packets
        data = data[:begin] + struct.pack("<iI", stream, len(packed)) + packed
    path = tmp_path / "b.aedat4"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_aedat4_events_that_go_back_in_time_are_refused(tmp_path: Path, codec: str | None) -> None:
    t = camera_events()["t"].tolist()
    message = rf"b\.aedat4: t: event 101 at {t[101]} us comes after one at {t[200]} us"
    with pytest.raises(BadRecording, match=message):
        read(aedat4_out_of_order(tmp_path, codec), "events")


def test_aedat4_times_before_zero_are_refused(tmp_path: Path) -> None:
    data = in_order("a.aedat4", None, tmp_path)
    first = data.index(struct.pack("<q", int(camera_events()["t"][0])))
    for n, t in enumerate(camera_events()["t"].tolist()):
        data[first + 16 * n : first + 16 * n + 8] = struct.pack("<q", t - 5_100_000)
    (tmp_path / "b.aedat4").write_bytes(data)
    with pytest.raises(BadRecording, match="t: event 0 is at -99179 us"):
        read(tmp_path / "b.aedat4", "events")


def test_dat_events_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    data = in_order("a.dat", "dat2", tmp_path)
    exchange(data, len(data) - 8 * 400, len(data) - 8 * 300, 8)  # events 100 and 200 of 500
    (tmp_path / "b.dat").write_bytes(data)
    t = (camera_events()["t"] - camera_events()["t"][0]).tolist()
    with pytest.raises(BadRecording, match=rf"b\.dat: t: event 101 at {t[101]} us comes after one at {t[200]} us"):
        read(tmp_path / "b.dat", "events")


@pytest.mark.parametrize(("name", "version", "size"), [("a.raw", "evt2", 4), ("a.raw", "evt3", 2)])
def test_raw_halves_that_are_exchanged_are_refused_and_not_taken_for_a_wrap(
    tmp_path: Path, name: str, version: str, size: int
) -> None:
    data = in_order(name, version, tmp_path)
    start = data.index(b"\n", data.index(b"% t0")) + 1
    words = [bytes(data[n : n + size]) for n in range(start, len(data), size)]
    half = next(n for n in range(len(words) // 2, len(words)) if words[n][-1] >> 4 == 8)
    (tmp_path / "b.raw").write_bytes(data[:start] + b"".join(words[half:] + words[:half]))
    end = int(camera_events()["t"][-1] - camera_events()["t"][0])
    with pytest.raises(BadRecording, match=rf"b\.raw: t: event \d+ at 0 us comes after one at {end} us"):
        read(tmp_path / "b.raw", "events")


def test_evt2_events_that_go_back_within_one_time_word_are_refused(tmp_path: Path) -> None:
    words = [8 << 28 | 100, 50 << 22 | 3 << 11 | 4, 1 << 28 | 49 << 22]
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 2.0\n% geometry 64x48\n" + struct.pack("<3I", *words))
    with pytest.raises(BadRecording, match="t: event 1 at 6449 us comes after one at 6450 us"):
        read(path, "events")


def evt3_bytes(*words: int) -> bytes:
    return b"% evt 3.0\n% geometry 64x48\n" + struct.pack(f"<{len(words)}H", *words)


def test_evt3_counters_that_begin_anew_add_their_range_even_when_words_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(evt3_bytes(0x8FFD, 0x6005, 0x0003, 0x2007, 0x8FFF, 0x6001, 0x2008, 0x8001, 0x6002, 0x2009))
    assert read_events(path).events["t"].tolist() == [0, 2 * 4096 - 4, 4 * 4096 - 3]


def test_evt3_vectors_give_an_event_a_bit_with_the_time_of_their_word(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(evt3_bytes(0x8001, 0x6005, 0x0003, 0x2001, 0x6006, 0x3802, 0x4005, 0x6009, 0x5003))
    events = read_events(path).events
    assert events["t"].tolist() == [0, 1, 1, 4, 4]
    assert events["x"].tolist() == [1, 2, 4, 14, 15]


def test_evt3_vectors_that_leave_the_sensor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(evt3_bytes(0x8001, 0x6005, 0x0003, 0x303E, 0x4007))
    with pytest.raises(BadRecording, match="x: event 2 has 64, outside the 64 x 48 sensor"):
        read(path, "events")


@pytest.mark.parametrize("header", [b"% evt 4.0\n", b"% format EVT4;height=48;width=64\n"])
def test_an_evt_version_that_is_not_known_is_refused_with_a_remedy(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(header + b"% geometry 64x48\n" + bytes(16))
    with pytest.raises(BadRecording, match=r"EVT version '4' cannot be read \(convert it to EVT2 or EVT3\)"):
        read(path, "events")


def test_a_sensor_larger_than_any_is_refused_before_its_events_are_read(tmp_path: Path) -> None:
    data = write_camera(tmp_path / "a.dat", "dat2").read_bytes()
    path = tmp_path / "b.dat"
    path.write_bytes(data.replace(b"Width 64", b"Width 60000").replace(b"Height 48", b"Height 60000"))
    with pytest.raises(BadRecording, match=r"b\.dat: the header says the sensor has 60000x60000 pixels \(1 to 4096 a"):
        read(path, "events")


def test_a_panic_of_the_reader_is_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 2.1\n% geometry 64x48\n" + bytes(16))  # faery panics at these
    with pytest.raises(BaseException, match="not yet implemented"), _panics_unseen():
        list(faery.events_stream_from_file(path))
    assert capfd.readouterr().err == ""


def test_what_others_print_while_a_camera_file_is_read_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    with _panics_unseen():
        os.write(2, b"of another thread")
    assert capfd.readouterr().err == "of another thread"


def test_a_damaged_aedat4_file_prints_nothing_and_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_camera(tmp_path / "a.aedat4").read_bytes()
    path = tmp_path / "b.aedat4"
    for n in range(60):
        rng = np.random.default_rng(n)
        damaged = bytearray(data)
        for at in rng.integers(14, 200, 8):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read(path, "events")
        except BadRecording as error:
            assert str(error).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""
