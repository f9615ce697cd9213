"""The time of event cameras: what was left in the pipe is dropped and counted, what no camera does is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadRecording
from tests.data.event_bytes import (
    HOUR,
    Event,
    aedat2_bytes,
    aedat3_bytes,
    dat_bytes,
    events_from,
    evt2_words,
    evt3_words,
    evt21_bytes,
    raw,
)
from tests.data.small_files import bin_bytes, camera_events, write_camera


def read_bytes(tmp_path: Path, name: str, data: bytes, size: tuple[int, int] | None = None) -> Events:
    (tmp_path / name).write_bytes(data)
    events = read(tmp_path / name, "events", size=size)
    assert isinstance(events, Events)
    return events


def as_rows(events: Events) -> list[Event]:
    return [tuple(map(int, event)) for event in events.events]  # type: ignore[misc]


def from_zero(events: list[Event]) -> list[Event]:
    return [(t - events[0][0], x, y, p) for t, x, y, p in events]


def test_evt2_events_before_the_first_time_base_are_dropped_and_counted(tmp_path: Path) -> None:
    lost = [k << 22 | 3 << 11 | 4 for k in range(40)]
    events = read_bytes(tmp_path, "a.raw", raw(2, lost + evt2_words(events_from(HOUR))))
    assert as_rows(events) == from_zero(events_from(HOUR))
    assert events.remarks == ("40 events before the first time base were dropped",)


def test_evt3_events_before_the_first_time_base_are_dropped_and_counted(tmp_path: Path) -> None:
    lost = [word for k in range(40) for word in (0x6000 | k, 9, 0x2000 | k)] + [0x3005, 0x4FFF]
    events = read_bytes(tmp_path, "a.raw", raw(3, lost + evt3_words(events_from(15_000_000))))
    assert as_rows(events) == from_zero(events_from(15_000_000))
    assert events.remarks == ("52 events before the first time base were dropped",)


def test_evt3_events_without_a_row_are_dropped_and_counted(tmp_path: Path) -> None:
    events = read_bytes(tmp_path, "a.raw", raw(3, [0x8001, 0x6000, 0x2007, *evt3_words(events_from(5000))]))
    assert as_rows(events) == from_zero(events_from(5000))
    assert events.remarks == ("1 events before the first time base were dropped",)


@pytest.mark.parametrize("late", [0, 1, 100, 900])
@pytest.mark.parametrize("start", [5_000_000, 16_701_000])
def test_an_evt3_time_base_may_come_late(tmp_path: Path, late: int, start: int) -> None:
    """The low part wraps before the high part follows; from 16.7 s both do."""
    sent = events_from(start, 3000)
    assert as_rows(read_bytes(tmp_path, "a.raw", raw(3, evt3_words(sent, late)))) == from_zero(sent)


@pytest.mark.parametrize("at", [1, 60, 200])
def test_evt3_events_that_go_back_within_one_time_base_are_refused(tmp_path: Path, at: int) -> None:
    sent = events_from(5_000_000, 300)
    sent[at] = (sent[at - 1][0] - 2, *sent[at][1:])
    with pytest.raises(BadRecording, match=r"t: event \d+ at \d+ us comes after one at"):
        read_bytes(tmp_path, "a.raw", raw(3, evt3_words(sent)))


def test_evt3_is_read_in_blocks_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = evt3_words(events_from(16_000_000, 400, 3111), 50)
    for n in sorted(np.random.default_rng(1).integers(10, len(words), 100).tolist(), reverse=True):
        words[n:n] = [0x3000 | n % 500, 0x4000 | n % 4096, 0x5000 | n % 256]  # a base and vectors
    whole = as_rows(read_bytes(tmp_path, "a.raw", raw(3, words)))
    for block in (1, 2, 7, 100):
        monkeypatch.setattr("snn_fusion.data.evt3.BLOCK", block)
        assert as_rows(read_bytes(tmp_path, "a.raw", raw(3, words))) == whole


@pytest.mark.parametrize("legacy", [True, False])
def test_evt21_gives_an_event_a_bit_in_both_orders_of_its_halves(tmp_path: Path, legacy: bool) -> None:
    words = [(HOUR, 32, 9, 1, 0b101), (HOUR + 3, 64, 8, 0, 1 << 31), (HOUR + 700, 0, 319, 1, 1)]
    events = read_bytes(tmp_path, "a.raw", evt21_bytes(words, legacy))
    assert as_rows(events) == [(0, 32, 9, 1), (0, 34, 9, 1), (3, 95, 8, 0), (700, 0, 319, 1)]
    assert (events.width, events.height, events.remarks) == (320, 320, ())


def test_evt21_events_before_the_first_time_base_are_dropped_and_counted(tmp_path: Path) -> None:
    data = evt21_bytes([(HOUR, 0, 1, 1, 1)], legacy=True)
    end = data.index(b"% end\n") + 6
    events = read_bytes(tmp_path, "a.raw", data[:end] + struct.pack("<II", 5, 0b111) + data[end:])
    assert as_rows(events) == [(0, 0, 1, 1)]
    assert events.remarks == ("3 events before the first time base were dropped",)


def test_words_without_events_point_at_the_version(tmp_path: Path) -> None:
    words = struct.pack("<III", *evt2_words([(HOUR, 1, 2, 1)]), 0)
    with pytest.raises(BadRecording, match="truncated"):
        read_bytes(tmp_path, "a.raw", b"% evt 2.1\n% geometry 320x320\n" + words)
    with pytest.raises(BadRecording, match=r"no events in 1 words of EVT2\.1 \(the header may give the wrong version"):
        read_bytes(tmp_path, "a.raw", b"% evt 2.1\n% geometry 320x320\n" + words[:8])


STALE = [(50_000_000 + HOUR + k, 1, 2, 1) for k in range(10)]
FRESH = events_from(0, 500)


@pytest.mark.parametrize("ahead", [STALE, [(t - HOUR - 50_000_000, *rest) for t, *rest in STALE]])
@pytest.mark.parametrize("form", ["evt2", "dat", "bin"])
def test_stale_events_at_the_beginning_are_dropped_and_counted(tmp_path: Path, ahead: list[Event], form: str) -> None:
    """They lie an hour after what follows, or seconds to hours before."""
    later = 0 if ahead is STALE else {"evt2": HOUR, "dat": HOUR, "bin": 5_000_000}[form]
    sent = [(t + later, x % 34, y % 34, p) for t, x, y, p in FRESH]
    if form == "bin" and ahead is STALE:
        ahead = [(8_000_000 + k, 1, 2, 1) for k in range(10)]
    head = b"% evt 2.0\n% geometry 34x34\n"
    data = {
        "evt2": lambda: raw(2, evt2_words([*ahead, *sent]), head),
        "dat": lambda: dat_bytes([*ahead, *sent], 12, b"% Version 2\n% Width 34\n% Height 34\n"),
        "bin": lambda: bin_bytes([*ahead, *sent]),
    }[form]()
    events = read_bytes(tmp_path, f"a.{'raw' if form == 'evt2' else form}", data)
    assert as_rows(events) == (sent if form == "bin" else from_zero(sent))
    assert events.remarks[0].startswith("the first 10 events were dropped: ")


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_the_stale_first_packet_of_aedat4_is_dropped_and_counted(tmp_path: Path, codec: str) -> None:
    data = bytearray(write_camera(tmp_path / "a.aedat4", compression=None).read_bytes())
    first = data.index(struct.pack("<q", int(camera_events()["t"][0])))
    for n in range(25):
        data[first + 16 * n : first + 16 * n + 8] = struct.pack("<q", n)
    events = read_bytes(tmp_path, "b.aedat4", bytes(data))
    expected = camera_events()["t"][25:]
    assert events.events["t"].tolist() == (expected - expected[0]).tolist()
    assert events.remarks[0].startswith("the first 25 events were dropped: 5.0")


@pytest.mark.parametrize("jump", [61_000_000, HOUR])
def test_a_jump_that_no_camera_makes_is_refused_with_event_time_and_remedy(tmp_path: Path, jump: int) -> None:
    sent = [*events_from(1000, 300), *events_from(jump, 300)]
    with pytest.raises(BadRecording) as caught:
        read_bytes(tmp_path, "a.raw", raw(2, evt2_words(sent)))
    assert f"t: event 300 at {jump} us comes " in str(caught.value)
    assert "no camera is silent so long: cut the recording there" in caught.value.remedy


def test_a_pause_of_some_seconds_in_the_middle_stays(tmp_path: Path) -> None:
    sent = [*events_from(1000, 300), *events_from(9_000_000, 300)]
    assert as_rows(read_bytes(tmp_path, "a.raw", raw(2, evt2_words(sent)))) == from_zero(sent)


def test_overflow_marks_say_nothing_where_the_times_go_on_across_them(tmp_path: Path) -> None:
    sent = [(40 * k, k % 200, k % 150, k % 2) for k in range(3000)]
    marked = [
        event for k, one in enumerate(sent) for event in ([one, (one[0], 0, 240, 0)] if k % 1000 == 999 else [one])
    ]
    events = read_bytes(tmp_path, "a.bin", bin_bytes(marked), (240, 180))
    assert as_rows(events) == sent
    assert events.remarks == ("3 overflow marks (row 240) were dropped: the times go on across them",)


def test_dat_events_of_type_0_are_read_as_n_cars_has_them(tmp_path: Path) -> None:
    sent = [(k * 50, k % 304, k % 240, k % 2) for k in range(400)]
    events = read_bytes(tmp_path, "a.dat", dat_bytes(sent))
    assert as_rows(events) == sent and (events.width, events.height) == (304, 240)
    events = read_bytes(
        tmp_path, "a.dat", dat_bytes(sent, 0, b"% Data file containing CD events.\n% Version 2\n"), (304, 240)
    )
    assert as_rows(events) == sent
    with pytest.raises(BadRecording, match=r"holds events of type 14 of 8 bytes \(types 0 and 12"):
        read_bytes(tmp_path, "a.dat", dat_bytes(sent, 14))


def test_dat_version_1_has_narrower_addresses(tmp_path: Path) -> None:
    events = read(write_camera(tmp_path / "a.dat", "dat1"), "events")
    assert isinstance(events, Events)
    expected = camera_events()
    assert events.events["x"].tolist() == expected["x"].tolist()
    assert events.events["p"].tolist() == expected["on"].astype(int).tolist()


def test_aedat2_of_a_dvs128_counts_x_from_the_right_and_drops_marks(tmp_path: Path) -> None:
    words = [(5 << 8 | 3 << 1 | 0, 1000), (1 << 15, 1005), (127 << 8 | 127 << 1 | 1, 1010)]
    events = read_bytes(tmp_path, "a.aedat", aedat2_bytes(words))
    assert as_rows(events) == [(0, 124, 5, 1), (10, 0, 127, 0)]
    assert (events.width, events.height) == (128, 128)
    assert events.remarks == ("1 words that are no change of a pixel were dropped",)


def test_aedat2_of_a_davis_is_read_and_its_frames_are_dropped(tmp_path: Path) -> None:
    words = [(1 << 31 | 7, 5), (4 << 22 | 9 << 12 | 1 << 11, 1000), (179 << 22 | 0 << 12, 1020)]
    events = read_bytes(tmp_path, "a.aedat", aedat2_bytes(words, "DAVIS240C"))
    assert as_rows(events) == [(0, 230, 4, 1), (20, 239, 179, 0)]
    with pytest.raises(BadRecording, match=r"x, y: event 0 is at \(300, 4\), outside the 240 x 180 sensor"):
        read_bytes(tmp_path, "a.aedat", aedat2_bytes([(4 << 22 | 300 << 12, 0)], "DAVIS240C"))


def test_aedat2_without_the_chip_asks_for_the_size_and_knows_it_by_that(tmp_path: Path) -> None:
    data = aedat2_bytes([(5 << 8 | 3 << 1, 1000)], "Unknown")
    with pytest.raises(BadRecording, match=r"does not name the chip.*128x128 for a DVS128"):
        read_bytes(tmp_path, "a.aedat", data)
    assert as_rows(read_bytes(tmp_path, "a.aedat", data, (128, 128))) == [(0, 124, 5, 1)]


def test_aedat3_gives_the_valid_polarity_events_of_all_packets(tmp_path: Path) -> None:
    packets = [[(100, 3, 5, 1, 1), (110, 4, 6, 0, 0)], [(120, 127, 127, 0, 1)]]
    events = read_bytes(tmp_path, "a.aedat", aedat3_bytes(packets))
    assert as_rows(events) == [(0, 3, 5, 1), (20, 127, 127, 0)]
    assert events.remarks == ("1 events that are marked as invalid were dropped",)
    later = read_bytes(tmp_path, "a.aedat4", aedat3_bytes(packets, overflow=2))
    assert as_rows(later) == as_rows(events)


@pytest.mark.parametrize("cut", [1, 5, 8, 30, 40])
def test_aedat3_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(BadRecording, match="truncated: "):
        read_bytes(tmp_path, "a.aedat", aedat3_bytes([[(100, 3, 5, 1, 1)]])[:-cut])
