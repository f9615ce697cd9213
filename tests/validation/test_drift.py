"""Drift: a gain or a rate that doubled is seen, chance is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snn_fusion.errors import BadInput
from snn_fusion.validation.drift import (
    Bins,
    Drift,
    allowed,
    bins_of,
    compare,
    read_profile,
    stability_index,
    write_profile,
)


def levels(n: int, seed: int, gain: float = 1.0) -> np.ndarray:
    """Sound levels that differ about 8 times between speakers."""
    return gain * np.exp(np.random.default_rng(seed).normal(-3.5, 0.6, n))


def drift_of(train: np.ndarray, test: np.ndarray, limit: float = 0.25) -> Drift:
    profile = {"audio": {"rms": bins_of(train)}}
    return compare(profile, {"audio": {"rms": test}}, limit, "test", "training")[0]


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_doubled_or_halved_gain_is_drift(gain: float) -> None:
    drift = drift_of(levels(900, 0), levels(100, 1, gain))
    assert drift.drifted
    assert str(drift).startswith("drift: rms of audio, test against training: population stability index ")


@pytest.mark.parametrize("n", [10, 30, 100, 1000])
def test_chance_is_not_drift(n: int) -> None:
    drifted = [drift_of(levels(900, 0), levels(n, seed)).drifted for seed in range(1, 101)]
    assert sum(drifted) <= 1


def test_index_against_a_hand_made_example() -> None:
    reference = Bins((1.0,), (50, 50))
    p, q = np.array([80.5, 20.5]) / 101, np.array([0.5, 0.5])
    values = np.concatenate([np.zeros(80), np.full(20, 2.0)])
    assert stability_index(reference, values) == pytest.approx(np.sum((p - q) * np.log(p / q)))


def test_small_samples_are_allowed_what_chance_gives() -> None:
    reference = bins_of(levels(900, 0))
    assert allowed(reference, 10, 0.25) > 1 > allowed(reference, 100, 0.25) > allowed(reference, 1000, 0.25) == 0.25


def test_nan_and_a_constant_do_not_break_it() -> None:
    assert not drift_of(np.full(50, 3.0), np.array([3.0, np.nan, 3.0])).drifted
    assert drift_of(np.full(50, 3.0), np.full(50, 4.0)).drifted
    assert not drift_of(np.full(50, np.nan), levels(50, 0)).drifted
    assert not drift_of(levels(50, 0), np.zeros(0)).drifted


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    profile = {"audio": {"rms": bins_of(levels(90, 0))}, "imu": {}}
    write_profile(tmp_path / "profile.json", profile)
    assert read_profile(tmp_path / "profile.json") == profile


@pytest.mark.parametrize("text", ["", "[]", '{"senses": {"audio": {"rms": 3}}}'])
def test_a_file_that_is_no_profile_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(BadInput, match=r"profile\.json: not a profile of measurements"):
        read_profile(tmp_path / "profile.json")
