"""Noise of the test conditions has the strength it says; variations stay recordings."""

from __future__ import annotations

import numpy as np
import pytest

from snn_fusion.data.perturb import NOISE, add_noise, vary
from snn_fusion.data.recording import EVENT, Audio, Events, Imu, Signal

STEP_MS = 20.0


def sound() -> Audio:
    t = np.arange(8000) / 8000
    return Audio((0.2 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 8000)


def scene(n: int = 20_000) -> Events:
    rng = np.random.default_rng(0)
    events = np.zeros(n, EVENT)
    events["t"] = np.sort(rng.integers(0, 300_000, n))
    events["x"], events["y"], events["p"] = rng.integers(0, 34, n), rng.integers(0, 34, n), rng.integers(0, 2, n)
    return Events(events, 34, 34)


def motion() -> Imu:
    rng = np.random.default_rng(0)
    values = (rng.normal(0, [1.0, 4.0, 20.0], (3000, 3))).astype(np.float32)
    return Imu(np.arange(3000) * 10_000, values, ("acc_x", "acc_y", "turn_rate"), ("m/s^2", "m/s^2", "rad/s"))


@pytest.mark.parametrize(("level", "snr_db"), [("n1", 10), ("n2", 5), ("n3", 0)])
def test_white_noise_has_the_signal_to_noise_ratio_of_its_level(level, snr_db: float) -> None:
    clean = sound()
    noise = add_noise(clean, level, np.random.default_rng(1), STEP_MS).samples - clean.samples
    ratio = 10 * np.log10(np.mean(clean.samples**2) / np.mean(noise**2))
    assert ratio == pytest.approx(snr_db, abs=0.3)


@pytest.mark.parametrize(("level", "drop", "background"), [("n1", 0.5, 0.005), ("n2", 0.7, 0.01), ("n3", 0.85, 0.02)])
def test_events_are_lost_and_false_ones_added_at_the_rate_of_the_level(level, drop: float, background: float) -> None:
    clean = scene()
    noisy = add_noise(clean, level, np.random.default_rng(1), STEP_MS).events
    expected = len(clean.events) * (1 - drop) + background * 34 * 34 * clean.duration_us / (STEP_MS * 1000)
    assert len(noisy) == pytest.approx(expected, rel=0.05)
    assert (np.diff(noisy["t"]) >= 0).all()


@pytest.mark.parametrize(("level", "share"), [("n1", 0.3), ("n2", 0.6), ("n3", 1.0)])
def test_imu_noise_is_a_share_of_each_channels_own_deviation(level, share: float) -> None:
    clean = motion()
    noise = add_noise(clean, level, np.random.default_rng(1), STEP_MS).values - clean.values
    np.testing.assert_allclose(noise.std(0) / clean.values.std(0), share, rtol=0.05)


@pytest.mark.parametrize("make", [sound, scene, motion])
def test_variations_are_valid_recordings_that_differ_and_are_seeded(make) -> None:
    clean: Signal = make()
    seen = []
    for seed in range(12):
        varied, again = (vary(clean, np.random.default_rng(seed), STEP_MS) for _ in range(2))
        match varied:
            case Audio():
                data = varied.samples
                assert data.dtype == np.float32 and np.isfinite(data).all()
                assert 0.8 < varied.duration_us / clean.duration_us < 1.25
                np.testing.assert_array_equal(data, again.samples)
            case Events():
                data = varied.events
                assert (np.diff(data["t"]) >= 0).all() and data["t"].min() >= 0
                assert data["x"].max() < 34 and data["y"].max() < 34
                np.testing.assert_array_equal(data, again.events)
            case Imu():
                data = varied.values
                assert data.dtype == np.float32 and np.isfinite(data).all() and (np.diff(varied.t) > 0).all()
                np.testing.assert_array_equal(data, again.values)
        seen.append(data.tobytes())
    assert len(set(seen)) == len(seen)


def test_the_original_is_never_changed() -> None:
    for make in (sound, scene, motion):
        clean, kept = make(), make()
        add_noise(clean, NOISE["n3"], np.random.default_rng(0), STEP_MS)
        vary(clean, np.random.default_rng(0), STEP_MS)
        for name in ("samples", "events", "values", "t"):
            if hasattr(clean, name):
                np.testing.assert_array_equal(getattr(clean, name), getattr(kept, name))
