"""The spike store and the cache in front of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from snn_fusion.config import Params
from snn_fusion.data.manifest import Ref
from snn_fusion.encoding.cache import Job, encode_all
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import SpikeStore, write
from snn_fusion.errors import BadInput, BadRecording
from snn_fusion.workspace import file_digest

STEPS, CHANNELS = 4, 6


def spikes(seed: int) -> Spikes:
    return Spikes.from_dense(np.random.default_rng(seed).random((STEPS, CHANNELS)) < 0.4)


@pytest.fixture
def store(tmp_path: Path) -> SpikeStore:
    parts = [spikes(0), Spikes.empty(STEPS, CHANNELS), spikes(2)]
    write(tmp_path / "s.arrow", {"id": ["a", "b", "c"]}, parts, CHANNELS, STEPS)
    return SpikeStore.open(tmp_path / "s.arrow")


def test_what_was_written_is_read_in_any_order_and_minus_one_is_silent(store: SpikeStore) -> None:
    taken = store.take(np.array([2, -1, 0, 1, 2])).dense().reshape(5, STEPS, CHANNELS)
    np.testing.assert_array_equal(taken[0], spikes(2).dense())
    np.testing.assert_array_equal(taken[2], spikes(0).dense())
    np.testing.assert_array_equal(taken[4], taken[0])
    assert taken[1].sum() == taken[3].sum() == 0
    assert list(store.meta["id"]) == ["a", "b", "c"] and len(store) == 3


def test_spikes_are_memory_mapped_not_copied(store: SpikeStore) -> None:
    assert not store.index.flags.owndata and not store.index.flags.writeable


def test_an_empty_store_has_no_recordings(tmp_path: Path) -> None:
    write(tmp_path / "s.arrow", {"id": []}, [], CHANNELS, STEPS)
    assert len(SpikeStore.open(tmp_path / "s.arrow")) == 0


def test_a_missing_or_foreign_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none.arrow: no such spike store \(run `snn-fusion encode`\)"):
        SpikeStore.open(tmp_path / "none.arrow")
    (tmp_path / "text.arrow").write_text("not arrow")
    with pytest.raises(BadInput, match=r"text.arrow: not a spike store"):
        SpikeStore.open(tmp_path / "text.arrow")


@pytest.fixture
def sounds(tmp_path: Path) -> list[Job]:
    jobs = []
    for i in range(3):
        path = tmp_path / "recordings" / f"{i}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(3000), 8000)
        jobs += [Job((("audio", Ref(path.name, file_digest(path), "")),), copy) for copy in (0, 1)]
    return jobs


def encoded(jobs: list[Job], params: Params, tmp_path: Path, seed: int = 0) -> list[Spikes]:
    made = encode_all(jobs, "audio", params.encoding, seed, tmp_path / "recordings", tmp_path / "cache")
    assert all(used > 0.99 for _, used in made)
    return [spikes for spikes, _ in made]


def test_each_recording_is_encoded_once_and_a_new_one_alone_is_added(
    sounds: list[Job], params: Params, tmp_path: Path
) -> None:
    first = encoded(sounds[:4], params, tmp_path)
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}
    for wav in ("0.wav", "1.wav"):  # what is cached is not read again
        (tmp_path / "recordings" / wav).unlink()
    second = encoded(sounds, params, tmp_path)
    for a, b in zip(first, second, strict=False):
        np.testing.assert_array_equal(a.index, b.index)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}
    assert len(after) == len(shards) + 1 and shards.items() <= after.items()


def test_a_variation_differs_from_the_recording_and_is_the_same_whenever_it_is_made(
    sounds: list[Job], params: Params, tmp_path: Path
) -> None:
    first = encoded(sounds, params, tmp_path)
    assert not np.array_equal(first[0].dense(), first[1].dense())
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    again = encoded(list(reversed(sounds)), params, tmp_path)[::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.dense(), b.dense())
    assert not np.array_equal(encoded(sounds, params, tmp_path, seed=1)[1].dense(), first[1].dense())


def test_a_recording_that_cannot_be_read_is_named_and_nothing_half_written_stays(
    sounds: list[Job], params: Params, tmp_path: Path
) -> None:
    (tmp_path / "recordings" / "2.wav").write_bytes(b"RIFF")
    with pytest.raises(BadInput, match=r"2\.wav"):
        encoded(sounds, params, tmp_path)
    assert list((tmp_path / "cache").glob(".*")) == []


def test_a_recording_that_cannot_be_encoded_is_named(params: Params, tmp_path: Path) -> None:
    wav = tmp_path / "recordings" / "slow.wav"
    wav.parent.mkdir()
    soundfile.write(wav, 0.1 * np.random.default_rng(0).standard_normal(3000), 4000)
    with pytest.raises(BadRecording, match=r"slow\.wav: audio: sample rate 4000 Hz .*lower high_hz to 2000 Hz"):
        encoded([Job((("audio", Ref(wav.name, file_digest(wav), "")),), 0)], params, tmp_path)
