"""Signals made for the tests: one good one of each sense, and one for each thing that can be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snn_fusion.data.recording import EVENT, Audio, Events, Imu, Signal

CHANNELS, UNITS = ("acc_x", "acc_y", "turn_rate", "contact"), ("m/s^2", "m/s^2", "rad/s", "1")


def good_audio() -> Audio:
    """Half a second of noise."""
    return Audio(np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32), 8000)


def good_events() -> Events:
    rng = np.random.default_rng(0)
    events = np.zeros(2000, EVENT)
    events["t"] = np.sort(rng.integers(0, 300_000, 2000))
    events["x"], events["y"] = rng.integers(0, 34, (2, 2000))
    events["p"] = rng.integers(0, 2, 2000)
    return Events(events, 34, 34)


def good_imu() -> Imu:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (50, 4)).astype(np.float32)
    values[:, 3] = np.arange(50) < 45
    return Imu(np.arange(50, dtype=np.int64) * 10_000, values, CHANNELS, UNITS)


GOOD: dict[str, Signal] = {"audio": good_audio(), "events": good_events(), "imu": good_imu()}


def bad_silent() -> Audio:
    return replace(good_audio(), samples=np.full(4000, 0.2, np.float32))


def bad_clipped() -> Audio:
    return replace(good_audio(), samples=(good_audio().samples * 30).clip(-1, 1))


def bad_nan() -> Audio:
    samples = good_audio().samples
    samples[[7, 9]] = np.nan, np.inf
    return replace(good_audio(), samples=samples)


def bad_rate() -> Audio:
    return replace(good_audio(), rate=11025)


def bad_short_sound() -> Audio:
    return replace(good_audio(), samples=good_audio().samples[:80])


def bad_order() -> Events:
    events = good_events().events
    events["t"][[10, 20, 30]] = 0
    return replace(good_events(), events=events)


def bad_before_start() -> Events:
    events = good_events().events
    events["t"][0] = -5
    return replace(good_events(), events=events)


def bad_outside() -> Events:
    return replace(good_events(), width=33)


def bad_polarity() -> Events:
    events = good_events().events
    events["p"][:4] = 2
    return replace(good_events(), events=events)


def bad_one_polarity() -> Events:
    events = good_events().events
    events["p"] = 1
    return replace(good_events(), events=events)


def bad_few_events() -> Events:
    return replace(good_events(), events=good_events().events[::50])


def bad_no_events() -> Events:
    return replace(good_events(), events=good_events().events[:0])


def bad_storm() -> Events:
    events = np.repeat(good_events().events, 400)
    return replace(good_events(), events=events)


def bad_hot_pixel() -> Events:
    events = good_events().events
    events["x"][:800], events["y"][:800] = 3, 4
    return replace(good_events(), events=events)


def bad_gap() -> Imu:
    t = good_imu().t.copy()
    t[30:] += 700_000
    return replace(good_imu(), t=t)


def bad_saturated() -> Imu:
    values = good_imu().values
    values[10:30, 1] = -19.6
    return replace(good_imu(), values=values)


def bad_imu_nan() -> Imu:
    values = good_imu().values
    values[3, 2] = np.nan
    return replace(good_imu(), values=values)


def bad_unit() -> Imu:
    return replace(good_imu(), units=("g", *UNITS[1:]))


def bad_channel() -> Imu:
    return replace(good_imu(), values=good_imu().values[:, :3], channels=CHANNELS[:3], units=UNITS[:3])


def bad_still() -> Imu:
    return replace(good_imu(), values=np.zeros((50, 4), np.float32))


def bad_slow() -> Imu:
    return replace(good_imu(), t=good_imu().t[:5] * 20, values=good_imu().values[:5])


def bad_long() -> Imu:
    return replace(good_imu(), t=good_imu().t * 30, values=good_imu().values)


def bad_time() -> Imu:
    t = good_imu().t.copy()
    t[10] = t[9]
    return replace(good_imu(), t=t)


ACC = "acc_x [m/s^2], acc_y [m/s^2], turn_rate [rad/s]"
BAD = [
    ("audio", bad_silent, "silence: rms = 0, allowed at least 0.0005"),
    ("audio", bad_clipped, "clipping: clipped_share = 0.7478, allowed at most 0.02"),
    ("audio", bad_nan, "NaN or infinity: not_finite = 2, allowed 0"),
    ("audio", bad_rate, "sample rate: rate_hz = 11,025 Hz, allowed 8,000 or 16,000 or 44,100 or 48,000 Hz"),
    ("audio", bad_short_sound, "duration: duration_s = 0.01 s, allowed 0.05 to 10 s"),
    ("events", bad_order, "timestamps going back: backwards = 3, allowed 0"),
    ("events", bad_before_start, "timestamps going back: backwards = 1, allowed 0"),
    ("events", bad_outside, "coordinates outside the sensor: outside = 55, allowed 0"),
    ("events", bad_polarity, "polarity other than 0 and 1: bad_polarity = 4, allowed 0"),
    ("events", bad_one_polarity, "both polarities: rarer_polarity_share = 0, allowed at least 0.02"),
    ("events", bad_few_events, "event rate: rate_hz = 135.9 events/s, allowed 500 to 2,000,000 events/s"),
    ("events", bad_no_events, "duration: duration_s = 0 s, allowed 0.02 to 10 s"),
    ("events", bad_storm, "event rate: rate_hz = 2,667,947 events/s, allowed 500 to 2,000,000 events/s"),
    ("events", bad_hot_pixel, "hot pixel: busiest_pixel_share = 0.4015, allowed at most 0.25"),
    ("imu", bad_gap, "gap: gap_s = 0.71 s, allowed at most 0.5 s"),
    ("imu", bad_saturated, "saturation: saturated_share = 0.4, allowed at most 0.3"),
    ("imu", bad_imu_nan, "NaN or infinity: not_finite = 1, allowed 0"),
    ("imu", bad_unit, f"channels and units: acc_x [m/s^2] missing; it has {ACC.replace('m/s^2', 'g', 1)}, contact [1]"),
    ("imu", bad_channel, f"channels and units: contact [1] missing; it has {ACC}"),
    ("imu", bad_still, "movement: moving_channels = 0, allowed at least 1"),
    ("imu", bad_slow, "sampling rate: rate_hz = 5 Hz, allowed 10 to 20,000 Hz"),
    ("imu", bad_long, "duration: duration_s = 14.7 s, allowed 0.05 to 10 s"),
    ("imu", bad_time, "timestamps not rising: backwards = 1, allowed 0"),
]
