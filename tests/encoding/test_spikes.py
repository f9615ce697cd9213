"""Spikes as compressed sparse rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.encoding.spikes import Spikes

STEPS = 6


def random_spikes(seed: int, recordings: int = 3, channels: int = 5, density: float = 0.3) -> Spikes:
    return Spikes.from_dense(np.random.default_rng(seed).random((recordings * STEPS, channels)) < density)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_dense_and_back_is_the_same(seed: int, density: float) -> None:
    dense = np.random.default_rng(seed).random((7, 11)) < density
    spikes = Spikes.from_dense(dense)
    np.testing.assert_array_equal(spikes.dense(), dense)
    assert spikes.indptr.dtype == spikes.index.dtype == np.int32


@given(st.integers(0, 1000), st.sets(st.integers(0, STEPS - 1), min_size=1).map(sorted))
def test_delay_taps_shift_each_recording_and_never_leak_into_the_next(seed: int, taps: list[int]) -> None:
    spikes = random_spikes(seed)
    by_step = spikes.dense().reshape(-1, STEPS, spikes.channels)
    expected = np.concatenate(
        [np.pad(by_step, ((0, 0), (d, 0), (0, 0)))[:, :STEPS] for d in taps], axis=2
    )  # a tap is the same spikes d steps later
    delayed = spikes.delayed(taps, STEPS)
    assert delayed.channels == spikes.channels * len(taps)
    np.testing.assert_array_equal(delayed.dense(), expected.reshape(-1, delayed.channels))
    for row in range(delayed.rows):
        inside = delayed.index[delayed.indptr[row] : delayed.indptr[row + 1]]
        assert (np.diff(inside) > 0).all()


def test_concatenation_keeps_rows_in_order() -> None:
    parts = [random_spikes(1), random_spikes(2), Spikes.empty(STEPS, 5)]
    whole = Spikes.concatenate(parts)
    np.testing.assert_array_equal(whole.dense(), np.concatenate([p.dense() for p in parts]))


@pytest.mark.parametrize("rows", [0, 4])
def test_an_empty_recording_has_rows_and_no_spikes(rows: int) -> None:
    assert Spikes.empty(rows, 9).dense().shape == (rows, 9)
