"""The synthetic recordings: the same bytes for the same seed, physical, and worth learning from."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from snn_fusion.data.synthetic import LABELS, generate
from snn_fusion.data.synthetic_camera import SIZE, STEP_US, watch
from snn_fusion.data.synthetic_glyph import Person, draw_glyph
from snn_fusion.data.synthetic_pen import feel
from snn_fusion.data.synthetic_voice import HEAD_RADIUS, RATE, SPEED_OF_SOUND, hear
from snn_fusion.workspace import tree_digest

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("synthetic")
    generate(made, seed=3, recordings_per_label=12)
    return made


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "recordings.csv").open() as file:
        return list(csv.DictReader(file))


def read_bin(path: Path) -> npt.NDArray[np.int64]:
    """Columns t, x, y, p of an N-MNIST file, written down again here from its description."""
    b = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 5).astype(np.int64)
    return np.column_stack([(b[:, 2] & 127) << 16 | b[:, 3] << 8 | b[:, 4], b[:, 0], b[:, 1], b[:, 2] >> 7])


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        generate(tmp_path / name, seed=seed, recordings_per_label=2)
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    assert tree_digest(tmp_path / "a") != tree_digest(tmp_path / "c")


def test_more_recordings_leave_the_first_ones_as_they_were(tmp_path: Path, folder: Path) -> None:
    generate(tmp_path, seed=3, recordings_per_label=2)
    for path in tmp_path.rglob("*_s*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()


def test_one_recording_a_label_is_refused_since_a_split_would_be_empty(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="recordings_per_label = 1: at least 2"):
        generate(tmp_path, seed=0, recordings_per_label=1)


def test_every_label_is_in_both_splits_and_no_subject_is(folder: Path) -> None:
    rows = lines(folder)
    subjects = {split: {r["subject"] for r in rows if r["split"] == split} for split in ("train", "test")}
    assert {(r["label"], r["split"]) for r in rows} == {(la, s) for la in LABELS for s in ("train", "test")}
    assert not subjects["train"] & subjects["test"]
    assert len({r["id"] for r in rows}) == len(rows) == 120


def test_files_hold_what_their_formats_promise(folder: Path) -> None:
    for row in lines(folder):
        events = read_bin(folder / row["events"])
        assert np.all(np.diff(events[:, 0]) >= 0)
        assert events[:, 1:3].max() < SIZE
        assert 1000 < len(events) < 20_000
        imu = pq.read_table(folder / row["imu"])
        assert imu.schema.names == ["t_us", "acc_x", "acc_y", "turn_rate", "contact"]
        assert [f.metadata[b"unit"] for f in list(imu.schema)[1:]] == [b"m/s^2", b"m/s^2", b"rad/s", b"1"]
        assert np.all(np.diff(imu["t_us"]) > 0)
        assert set(imu["contact"].to_pylist()) == {0.0, 1.0}
        with wave.open(str(folder / row["audio"])) as sound:
            assert (sound.getnchannels(), sound.getframerate()) == (2, RATE)


@pytest.mark.parametrize("degrees", [-40, 0, 25])
def test_the_nearer_ear_hears_earlier_and_louder(degrees: int) -> None:
    azimuth = np.radians(degrees)
    sound = np.random.default_rng(0).normal(size=4000)
    left, right = hear(sound, azimuth).T
    lag = int(np.argmax(np.correlate(left, right, "full"))) - (len(sound) - 1)  # > 0: left is later
    expected = HEAD_RADIUS / SPEED_OF_SOUND * (azimuth + np.sin(azimuth)) * RATE
    assert abs(lag - expected) <= 1.5
    assert np.sign(right.std() - left.std()).round() == np.sign(degrees) or degrees == 0


def test_camera_at_a_still_scene_sees_only_background(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    person = Person.draw(rng)
    still = np.zeros((150, 2))
    monkeypatch.setattr("snn_fusion.data.synthetic_camera._saccades", lambda person, rng: still)
    events = watch(draw_glyph("3", person, rng), person, rng)
    expected = 0.5 * SIZE * SIZE * 150 * STEP_US / 1e6
    assert abs(len(events) - expected) < 5 * np.sqrt(expected)


def test_pen_of_a_closed_contour_comes_back_to_rest_where_it_began() -> None:
    rng = np.random.default_rng(0)
    person = Person.draw(rng)
    imu = feel(draw_glyph("0", person, rng), person, rng)
    velocity = np.cumsum(imu.values[:, :2], axis=0) * 0.01
    assert np.abs(velocity[-1]).max() < 0.1 * np.abs(velocity).max()
    assert imu.values[:, 3].sum() > 0.7 * len(imu.t)


def sound_features(path: Path) -> Array:
    """Log energy in 12 bands x 6 parts of the word."""
    with wave.open(str(path)) as sound:
        x = np.frombuffer(sound.readframes(10**9), "<i2").reshape(-1, 2).mean(axis=1)
    spectra = [np.abs(np.fft.rfft(part, 1024)) ** 2 for part in np.array_split(x, 6)]
    return np.log(np.array([[b.sum() for b in np.array_split(s[:240], 12)] for s in spectra]) + 1).ravel()


def event_features(path: Path) -> Array:
    events = read_bin(path)
    return np.sqrt(np.histogramdd(events[:, 1:3], bins=(9, 9), range=((0, 34), (0, 34)))[0]).ravel()


def imu_features(path: Path) -> Array:
    columns = pq.read_table(path).to_pandas().to_numpy(dtype=np.float64)[:, 1:]
    columns[:, 2] = np.tanh(columns[:, 2] / 10)
    at = np.linspace(0, len(columns) - 1, 16)
    return np.concatenate([np.interp(at, np.arange(len(columns)), c) for c in columns.T])


@pytest.mark.parametrize(
    ("sense", "features"), [("audio", sound_features), ("events", event_features), ("imu", imu_features)]
)
def test_a_linear_reader_tells_the_digits_of_unknown_people_apart(folder: Path, sense: str, features) -> None:
    rows = lines(folder)
    x = np.array([features(folder / r[sense]) for r in rows])
    y, test = np.array([int(r["label"]) for r in rows]), np.array([r["split"] == "test" for r in rows])
    x = (x - x[~test].mean(axis=0)) / (x[~test].std(axis=0) + 1e-6)
    gram = x[~test].T @ x[~test] + 30 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[~test].T @ np.eye(10)[y[~test]])
    accuracy = np.mean(np.argmax(x[test] @ weights, axis=1) == y[test])
    assert accuracy >= 0.7  # chance is 0.1
