"""Each sense's encoder: causal, robust to what does not matter, clear about what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_fusion.config import Params
from snn_fusion.data.origin import from_first
from snn_fusion.data.recording import EVENT, Audio, Events, Imu
from snn_fusion.encoding import audio, events
from snn_fusion.encoding.encoder import channels, encode, inputs, with_taps
from snn_fusion.errors import BadInput


def a_sound(seed: int = 0, seconds: float = 0.5, rate: int = 8000) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * rng.uniform(200, 2000) * t) * np.sin(2 * np.pi * 3 * t) ** 2
    return Audio((0.3 * tone + 0.01 * rng.standard_normal(len(t))).astype(np.float32), rate)


def some_events(seed: int = 0, n: int = 2000, size: int = 34, duration_us: int = 300_000) -> Events:
    rng = np.random.default_rng(seed)
    found = np.zeros(n, EVENT)
    found["t"] = np.sort(rng.integers(0, duration_us, n))
    found["x"], found["y"], found["p"] = rng.integers(0, size, n), rng.integers(0, size, n), rng.integers(0, 2, n)
    return Events(found, size, size)


def a_stroke(seed: int = 0, n: int = 60) -> Imu:
    rng = np.random.default_rng(seed)
    values = np.column_stack([*rng.normal(0, 1, (2, n)), rng.normal(0, 8, n), rng.random(n) > 0.2])
    names, units = ("acc_x", "acc_y", "turn_rate", "contact"), ("m/s^2", "m/s^2", "rad/s", "1")
    return Imu(np.arange(n, dtype=np.int64) * 10_000, values.astype(np.float32), names, units)


def up_to(signal: Audio | Events | Imu, us: int) -> Audio | Events | Imu:
    match signal:
        case Audio():
            return replace(signal, samples=signal.samples[: us * signal.rate // 1_000_000])
        case Events():
            return replace(signal, events=signal.events[signal.events["t"] < us])
        case Imu():
            return replace(signal, t=signal.t[signal.t < us], values=signal.values[signal.t < us])


@pytest.mark.parametrize("samples", [1, 39])
def test_a_sound_shorter_than_a_step_has_no_spikes(samples: int, params: Params) -> None:
    sound = a_sound(seconds=1)
    assert not encode(replace(sound, samples=sound.samples[:samples]), params.encoding).dense().any()


@pytest.mark.parametrize("make", [a_sound, some_events, a_stroke])
@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_step_depends_on_nothing_that_comes_later(make, step: int, params: Params) -> None:
    code, signal = params.encoding, from_first({"one": make(3)})["one"]
    whole = encode(signal, code).dense()
    part = encode(up_to(signal, round(step * code.step_ms * 1000)), code).dense()
    np.testing.assert_array_equal(part[:step], whole[:step])


@pytest.mark.parametrize("make", [a_sound, some_events, a_stroke])
def test_shape_is_steps_by_channels_and_taps_multiply_channels(make, params: Params) -> None:
    code, signal = params.encoding, make()
    sense = {Audio: "audio", Events: "events", Imu: "imu"}[type(signal)]
    spikes = encode(signal, code)
    assert (spikes.rows, spikes.channels) == (code.steps, channels(code, sense))
    assert with_taps(spikes, code).channels == inputs(code, sense) == spikes.channels * len(code.taps)
    assert 0 < len(spikes.index) < spikes.rows * spikes.channels


@pytest.mark.parametrize("gain", [0.35, 2.8])
def test_an_eightfold_range_of_loudness_does_not_change_audio_spikes(gain: float, params: Params) -> None:
    sound = a_sound()
    louder = replace(sound, samples=np.float32(gain) * sound.samples)
    difference = encode(sound, params.encoding).dense() != encode(louder, params.encoding).dense()
    assert difference.mean() < 1e-3


def test_silence_makes_no_audio_spikes(params: Params) -> None:
    assert len(encode(Audio(np.zeros(4000, np.float32), 8000), params.encoding).index) == 0


def test_a_tone_is_loudest_in_the_band_of_its_frequency(params: Params) -> None:
    code = params.encoding.audio
    centres = audio.centre_frequencies(code.bands, code.low_hz, code.high_hz)
    for band in (4, 15, 27):
        t = np.arange(4000) / 8000
        tone = Audio(np.sin(2 * np.pi * centres[band] * t).astype(np.float32), 8000)
        power = audio.cochleagram(tone, params.encoding)
        assert (power[5:].argmax(axis=1) == band).all()


def test_the_same_sound_at_another_sample_rate_gives_nearly_the_same_spikes(params: Params) -> None:
    def sound(rate: int) -> Audio:
        t = np.arange(rate // 2) / rate
        return Audio((np.sin(2 * np.pi * 700 * t) * np.sin(2 * np.pi * 4 * t)).astype(np.float32), rate)

    first, second = (encode(sound(rate), params.encoding).dense() for rate in (8000, 11025))
    assert (first != second).sum() < 0.05 * first.sum()


def test_a_sample_rate_too_low_for_the_bands_is_refused(params: Params) -> None:
    with pytest.raises(BadInput, match=r"sample rate 4000 Hz cannot carry encoding.audio.high_hz = 3800.0 Hz"):
        encode(a_sound(rate=4000), params.encoding)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 400), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_binning_counts_every_event_once(seed: int, n: int, width: int, height: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.zeros(n, EVENT)
    found["t"] = np.sort(rng.integers(0, 12_000, n))
    found["x"], found["y"], found["p"] = rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n)
    binned = events.bin_events(found, width, height, 1000, steps)
    expected = np.zeros((steps, 2, height, width), int)
    inside = found[found["t"] < steps * 1000]
    np.add.at(expected, (inside["t"] // 1000, inside["p"], inside["y"], inside["x"]), 1)
    np.testing.assert_array_equal(binned, expected)


def test_an_event_outside_the_sensor_is_named_not_counted() -> None:
    found = some_events(n=10).events
    found["x"][7] = 40
    with pytest.raises(IndexError, match=r"event 7 at t=\d+, x=40, .* outside a sensor of 34 x 34"):
        events.bin_events(found, 34, 34, 20_000, 50)
    found = some_events(n=10).events
    found["t"][0] = -5
    with pytest.raises(IndexError, match=r"event 0 at t=-5"):
        events.bin_events(found, 34, 34, 20_000, 50)


def test_a_cell_with_more_events_than_a_count_holds_stays_at_the_most_it_holds() -> None:
    found = np.zeros(70_000, EVENT)
    binned = events.bin_events(found, 2, 2, 1000, 1)
    assert binned[0, 0].tolist() == [[65535, 0], [0, 0]] and binned[0, 1].sum() == 0


def test_cameras_of_different_sizes_meet_on_the_same_channels(params: Params) -> None:
    small = some_events(size=34)
    large = small.events.copy()
    large["x"], large["y"] = large["x"] * 10, large["y"] * 10
    same = encode(Events(large, 340, 340), params.encoding)
    np.testing.assert_array_equal(same.dense(), encode(small, params.encoding).dense())


def test_integrals_of_acceleration_follow_velocity_and_position(params: Params) -> None:
    n, acceleration = 50, 0.5
    values = np.column_stack([np.full(n, acceleration), np.zeros(n), np.zeros(n), np.ones(n)]).astype(np.float32)
    signal = replace(a_stroke(n=n), t=np.arange(n, dtype=np.int64) * 10_000, values=values)
    at = (np.arange(25) * 2 + 1) * 0.01  # s, the last sample of each step
    dense = encode(signal, params.encoding).dense()[:25]
    thresholds = np.array(params.encoding.imu.thresholds)
    scale = params.encoding.imu.channels[0].codes["integral"]
    for column, threshold in enumerate(thresholds):
        expected = acceleration * at / scale > threshold if threshold > 0 else np.zeros(25, bool)
        assert (dense[:, column] != expected).sum() <= 1  # the leak delays a crossing by at most a step


def test_an_imu_channel_that_is_missing_or_in_another_unit_is_named(params: Params) -> None:
    stroke = a_stroke()
    with pytest.raises(BadInput, match="no channel 'turn_rate'; the recording has acc_x, acc_y, gyro, contact"):
        encode(replace(stroke, channels=("acc_x", "acc_y", "gyro", "contact")), params.encoding)
    with pytest.raises(BadInput, match=r"channel 'acc_y' is in 'g', encoding.imu.channels wants 'm/s\^2'"):
        encode(replace(stroke, units=("m/s^2", "g", "rad/s", "1")), params.encoding)


def test_an_imu_at_rest_is_silent(params: Params) -> None:
    stroke = a_stroke()
    assert len(encode(replace(stroke, values=np.zeros_like(stroke.values)), params.encoding).index) == 0
