"""The conditions of the tests: which there are, when answers are read, what noise does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snn_fusion.benchmark.conditions import CONDITIONS, HARD_CONDITIONS, LEVELS, at_level
from snn_fusion.data.manifest import Ref
from snn_fusion.data.recording import Audio, Imu

REF = Ref("a/one.wav", "ab" * 32, "theo")
TONE = Audio(np.sin(np.arange(8000) / 5).astype(np.float32), 8000)


def test_every_condition_but_clean_is_hard() -> None:
    assert [c.name for c in CONDITIONS] == [
        *("clean", "n1", "n2", "n3"),
        *("missing_audio", "missing_events", "missing_imu"),
        *("early_20", "early_40", "early_60"),
    ]
    assert ("clean", *HARD_CONDITIONS) == tuple(c.name for c in CONDITIONS)


def test_early_answers_are_read_after_10_20_and_30_of_50_steps() -> None:
    after = {c.name: c.step(50) + 1 for c in CONDITIONS}
    assert (after["early_20"], after["early_40"], after["early_60"], after["clean"]) == (10, 20, 30, 50)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_an_answer_is_read_after_at_least_one_step_and_within_the_recording(steps: int) -> None:
    assert all(0 <= c.step(steps) < steps for c in CONDITIONS)


def test_clean_leaves_a_signal_as_it_is() -> None:
    assert at_level(TONE, "clean", REF, 0, 20.0) is TONE


@pytest.mark.parametrize(("level", "snr_db"), [("n1", 10), ("n2", 5), ("n3", 0)])
def test_noise_on_sound_has_the_promised_snr(level: str, snr_db: float) -> None:
    noisy = at_level(TONE, level, REF, 0, 20.0)  # type: ignore[arg-type]
    assert isinstance(noisy, Audio)
    noise = noisy.samples - TONE.samples
    assert 10 * np.log10(np.mean(TONE.samples**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.2)


@pytest.mark.parametrize(("level", "share"), [("n1", 0.3), ("n2", 0.6), ("n3", 1.0)])
def test_noise_on_an_imu_is_a_share_of_each_channels_deviation(level: str, share: float) -> None:
    values = np.stack([np.sin(np.arange(5000) / 9), 50 * np.cos(np.arange(5000) / 7)], 1).astype(np.float32)
    imu = Imu(np.arange(5000) * 1000, values, ("acc_x", "turn_rate"), ("m/s^2", "rad/s"))
    noisy = at_level(imu, level, REF, 0, 20.0)  # type: ignore[arg-type]
    assert isinstance(noisy, Imu)
    assert (noisy.values - values).std(axis=0) / values.std(axis=0) == pytest.approx([share, share], rel=0.05)


def test_noise_depends_on_content_seed_and_level_and_not_on_where_a_file_lies() -> None:
    def noisy(level: str, ref: Ref, seed: int) -> bytes:
        signal = at_level(TONE, level, ref, seed, 20.0)  # type: ignore[arg-type]
        assert isinstance(signal, Audio)
        return signal.samples.tobytes()

    here = noisy("n1", REF, 0)
    assert noisy("n1", replace(REF, path="elsewhere/1.wav", subject=""), 0) == here
    others = [noisy("n1", replace(REF, sha256="cd" * 32), 0), noisy("n1", REF, 1), noisy("n2", REF, 0)]
    assert len({here, *others}) == 4


def test_levels_begin_with_clean() -> None:
    assert LEVELS == ("clean", "n1", "n2", "n3")
