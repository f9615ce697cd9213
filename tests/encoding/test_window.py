"""The window: where the network looks, how much of a recording that is, and that rest before it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.origin import earlier, from_first
from snn_fusion.data.recording import EVENT, Audio, Events, Sense, Signal
from snn_fusion.encoding.encoder import encode, encode_together, sense_of
from snn_fusion.encoding.window import Window
from tests.encoding.late import late
from tests.encoding.test_encoders import a_sound, a_stroke, some_events

MAKERS = [a_sound, some_events, a_stroke]


@pytest.fixture
def code(params: Params) -> EncodingParams:
    return params.encoding


def seen(signals: dict[Sense, Signal], code: EncodingParams) -> Window:
    return encode_together(signals, code)[1]


def alike(first: Signal, second: Signal, code: EncodingParams) -> float:
    """Share of the spikes of either that both have."""
    one, other = (encode(signal, code).dense().astype(bool) for signal in (first, second))
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("late_us", [500_000, 1_200_000, 5_000_000])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_recording_that_begins_late_has_the_spikes_of_one_that_does_not(make, late_us, noise, code) -> None:
    signal = make(3)
    window = seen({sense_of(signal): late(signal, late_us, noise)}, code)
    assert window.found == "later"
    assert abs(window.begin_us - late_us) <= 20_000
    assert alike(late(signal, late_us, noise), signal, code) > 0.85


@pytest.mark.parametrize("level", [0.003, 0.005, 0.01])
def test_a_word_after_loud_steady_noise_is_found_where_it_rises_above_it(level: float, code) -> None:
    signal = a_sound(3)
    rest = level * np.random.default_rng(1).standard_normal(9600)
    noisy = Audio(np.concatenate([rest, signal.samples]).astype(np.float32), 8000)
    window = seen({"audio": noisy}, code)
    assert window.found == "later"
    assert 1_150_000 <= window.begin_us <= 1_260_000


@pytest.mark.parametrize("gain", [0.3, 0.1, 0.03])
@pytest.mark.parametrize("noise", [0.0, 0.0005])
def test_a_quiet_word_after_rest_begins_where_the_loud_one_does(gain: float, noise: float, code) -> None:
    rest = noise * np.random.default_rng(1).standard_normal(9600)
    loud = np.concatenate([rest, a_sound(3).samples]).astype(np.float32)
    begins = [seen({"audio": Audio(loud * np.float32(g), 8000)}, code).begin_us or 0 for g in (1.0, gain)]
    assert begins[0] == pytest.approx(1_200_000, abs=20_000) and abs(begins[1] - begins[0]) <= 20_000


@pytest.mark.parametrize("at", [0, 2400])
@pytest.mark.parametrize("length", [4, 80, 160])
def test_a_click_or_a_thump_before_a_word_is_not_where_it_begins(at: int, length: int, code) -> None:
    rest = 0.0005 * np.random.default_rng(1).standard_normal(9600)
    words = [np.concatenate([rest, a_sound(3).samples]).astype(np.float32) for _ in range(2)]
    words[1][at : at + length] += 0.5 * np.sin(np.arange(length))
    without, after_click = (seen({"audio": Audio(word, 8000)}, code) for word in words)
    assert after_click.found == "later" and after_click.begin_us == without.begin_us


def test_a_sound_that_is_nothing_but_a_click_has_no_onset(code) -> None:
    click = np.zeros(8000, np.float32)
    click[4000:4080] = 0.5
    assert seen({"audio": Audio(click, 8000)}, code).found == "not found"


@pytest.mark.parametrize("make", MAKERS)
def test_what_begins_within_the_look_back_is_seen_from_its_first_sample(make, code) -> None:
    for us in (0, 50_000):
        signal = late(make(4), us)
        window = seen({sense_of(signal): signal}, code)
        assert (window.found, window.begin_us) == ("at once", 0)


def test_where_nothing_begins_it_says_so_and_looks_from_the_first_sample(code) -> None:
    quiet = Audio((0.0005 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32), 8000)
    window = seen({"audio": quiet}, code)
    assert (window.found, window.begin_us) == ("not found", 0)
    off = code.model_copy(update={"onset": None})
    np.testing.assert_array_equal(encode(quiet, off).index, encode(quiet, code).index)


def test_turned_off_the_window_begins_with_the_first_sample(code) -> None:
    signal, off = late(a_sound(3), 1_200_000), code.model_copy(update={"onset": None})
    window = seen({"audio": signal}, off)
    used = window.used()["audio"]
    assert (window.found, used.from_s, used.to_s, used.of_s) == ("off", 0, 1, 1.7)
    assert used.share < 0.001


def test_the_window_of_several_senses_begins_with_the_first_that_has_an_onset(code) -> None:
    made: dict[Sense, Signal] = {
        "audio": late(a_sound(3), 1_500_000),
        "events": late(some_events(3), 1_200_000),
        "imu": late(a_stroke(3), 1_300_000),
    }
    spikes, window = encode_together(made, code)
    assert abs(window.begin_us - 1_200_000) <= 20_000
    for sense, steps in (("audio", 15), ("imu", 5)):
        first = int(np.flatnonzero(spikes[sense].dense().any(axis=1) if sense == "imu" else _loud(spikes[sense]))[0])
        assert abs(first - steps) <= 1, sense


def _loud(spikes) -> np.ndarray:
    return spikes.counts() > 0.5 * spikes.counts().max()


@pytest.mark.parametrize("make", [some_events, a_stroke])
@pytest.mark.parametrize("clock_us", [1_100_000, 30_000_000, 1_732_800_000_000_000])
def test_the_clock_of_a_sensor_changes_nothing(make, clock_us: int, code) -> None:
    signal = make(5)
    np.testing.assert_array_equal(encode(earlier(signal, -clock_us), code).index, encode(signal, code).index)


def test_one_offset_is_taken_from_all_senses_with_time_stamps() -> None:
    made = {"audio": a_sound(), "events": earlier(some_events(), -7_000_000), "imu": earlier(a_stroke(), -7_250_000)}
    found = from_first(made)
    first = int(some_events().events["t"][0])
    assert int(found["events"].events["t"][0]) == 0
    assert int(found["imu"].t[0]) == 250_000 - first
    assert found["audio"] is made["audio"]


@pytest.mark.parametrize("ahead", ["events", "imu"])
def test_senses_on_clocks_of_different_origins_begin_with_their_own_first_samples(ahead: Sense, code) -> None:
    """A camera that counts from 0 beside an IMU with the time since 1970, or the other way round."""
    plain: dict[Sense, Signal] = {"audio": a_sound(3), **from_first({"events": some_events(3)}), "imu": a_stroke(3)}
    given = plain | {ahead: earlier(plain[ahead], -1_732_800_000_000_000)}
    found, window = encode_together(given, code)
    for sense, spikes in encode_together(plain, code)[0].items():
        np.testing.assert_array_equal(found[sense].index, spikes.index)
        assert window.used()[sense].from_s == 0 and window.used()[sense].share > 0.8
    assert window.clocks and window.clocks.startswith(f"the first time stamp of {ahead} is 1,732,800,000 s after")
    for sense, signal in from_first(given).items():
        assert signal.remarks == ((window.clocks,) if sense != "audio" else ())


def test_a_minute_between_the_senses_is_kept_and_a_longer_time_is_another_clock(code) -> None:
    for us, clocks in ((60_000_000, False), (60_000_001, True)):
        events = from_first({"events": some_events()})["events"]
        found = from_first({"events": events, "imu": earlier(a_stroke(), -us)})["imu"]
        assert int(found.t[0]) == (0 if clocks else us)
        assert bool(found.remarks) is clocks


def test_how_much_was_used_is_the_share_of_energy_events_and_movement(code) -> None:
    off = code.model_copy(update={"onset": None})
    sound = Audio(np.tile([0.5, -0.5], 10_000).astype(np.float32), 8000)  # 2.5 s
    events = np.zeros(400, EVENT)
    events["t"] = np.arange(400) * 10_000  # 4 s
    used = seen({"audio": sound, "events": Events(events, 34, 34)}, off).used()
    assert used["audio"].body() == {"from_s": 0.0, "to_s": 1.0, "of_s": 2.5, "share": 0.4}
    assert used["events"].body() == {"from_s": 0.0, "to_s": 1.0, "of_s": 3.99, "share": 0.25}
    assert used["audio"].needed_s == pytest.approx(2.475, abs=0.01)
    assert used["events"].needed_s == pytest.approx(3.96, abs=0.02)


def test_how_much_was_used_does_not_depend_on_how_the_recording_was_cut(code) -> None:
    signal = late(a_sound(6, 2.0), 700_000)
    window = Window(["audio"], code)
    for i in range(0, len(signal.samples), 333):
        window.push({"audio": replace(signal, samples=signal.samples[i : i + 333])})
    window.close()
    assert window.used() == seen({"audio": signal}, code).used()


def test_a_stream_without_an_onset_keeps_no_more_than_the_look_back(code) -> None:
    window, quiet = Window(["audio"], code), np.random.default_rng(0)
    for _ in range(300):  # 30 s
        window.push({"audio": Audio((0.0003 * quiet.standard_normal(800)).astype(np.float32), 8000)})
        assert window.waiting["audio"] <= 2 * 8000 * code.onset.look_back_ms / 1000 + 800  # it may yet begin at once
    assert window.waiting["audio"] <= 8000 * code.onset.look_back_ms / 1000 + 800


def test_a_sense_that_runs_ahead_of_another_loses_nothing_of_the_window(code) -> None:
    made: dict[Sense, Signal] = {"audio": late(a_sound(3, 3.0), 900_000), "imu": late(a_stroke(3), 1_000_000)}
    whole, window = encode_together(made, code)
    stream, audio = Window(made, code), made["audio"]
    rows = [
        stream.push({"audio": replace(audio, samples=audio.samples[first:last])})
        for first, last in ((0, 8_000), (8_000, 24_000), (24_000, 31_200))
    ]
    rows += [stream.push({"imu": made["imu"]}), stream.close()]
    assert stream.begin_us == window.begin_us > 800_000
    for sense, one in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[sense] for part in rows]), one.dense().astype(bool))
