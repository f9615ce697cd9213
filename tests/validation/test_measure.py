"""What is measured, where the numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snn_fusion.config import Params
from snn_fusion.data.recording import Audio, Events, Imu
from snn_fusion.validation.checks import missing_channels
from snn_fusion.validation.measure import measure, measure_audio, measure_events, measure_imu, saturated_share
from tests.validation.made_signals import good_audio, good_events, good_imu


def test_level_and_peak_of_a_sine() -> None:
    sine = 0.5 * np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)
    found = measure_audio(Audio(sine.astype(np.float32), 8000))
    assert found["rms"] == pytest.approx(0.5 / np.sqrt(2), rel=1e-5)
    assert found["peak"] == pytest.approx(0.5, rel=1e-5)
    assert (found["duration_s"], found["rate_hz"], found["clipped_share"]) == (1.0, 8000, 0.0)


def test_event_rate_and_hottest_pixel() -> None:
    found = measure_events(good_events())
    assert found["rate_hz"] == pytest.approx(2000 / 0.3, rel=0.01)
    assert found["busiest_pixel_share"] == pytest.approx(9 / 2000, abs=2 / 2000)
    assert (found["backwards"], found["outside"], found["bad_polarity"]) == (0, 0, 0)


def test_gap_rate_and_level_of_an_imu() -> None:
    imu = good_imu()
    found = measure_imu(imu)
    assert (found["rate_hz"], found["gap_s"], found["moving_channels"]) == (100.0, 0.01, 4)
    assert found["rms_acc_x"] == pytest.approx(float(np.sqrt(np.mean(imu.values[:, 0] ** 2))), rel=1e-6)
    assert found["channels"] == "acc_x [m/s^2], acc_y [m/s^2], turn_rate [rad/s], contact [1]"


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([0, 1, 2, 2, 2, 2, 1, 0], 0.5),  # clipped
        ([0, 1, 2, 2, 1, 0, -2, -2], 0.0),  # two samples in a row are a slow movement
        ([0, -3, -3, -3, 1, 3, 3, 3], 0.75),  # both rails
        ([0, 1, 1, 1, 1, 0, 1, 1], 0.0),  # a switch
        ([5, 5, 5, 5, 5, 5, 5, 5], 0.0),  # stands still: `moving_channels` tells
        ([0, 0, 0, 0, 0, 1, 2, 1], 0.0),  # rest is not a rail
    ],
)
def test_saturation_is_an_extreme_that_is_held(values: list[float], share: float) -> None:
    assert saturated_share(np.array(values, np.float32)) == share


def test_channels_may_come_in_any_order_and_more_than_are_needed(params: Params) -> None:
    wanted = params.encoding.imu.channels
    there = ["gyro_z [rad/s]", *(f"{c.name} [{c.unit}]" for c in reversed(wanted))]
    assert missing_channels(", ".join(there), wanted) is None
    assert missing_channels(None, wanted) is None


@pytest.mark.parametrize(
    "empty",
    [
        Audio(np.zeros(0, np.float32), 8000),
        Events(good_events().events[:0], 34, 34),
        Imu(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), good_imu().channels, good_imu().units),
    ],
    ids=["audio", "events", "imu"],
)
def test_an_empty_recording_can_be_measured(empty: Audio | Events | Imu) -> None:
    assert measure(empty)["duration_s"] == 0


@given(arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)))
def test_any_samples_can_be_measured(samples: np.ndarray) -> None:
    found = measure_audio(Audio(samples, good_audio().rate))
    assert found["not_finite"] == int((~np.isfinite(samples)).sum())
    rms = found["rms"]
    assert isinstance(rms, float)
    assert np.isnan(rms) == (len(samples) == 0 or not np.isfinite(samples).all())
