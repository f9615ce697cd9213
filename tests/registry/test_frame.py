"""Encoded recordings as a table and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.registry.frame import from_frame, to_frame

STEPS, CHANNELS = 5, 7
DENSE = arrays(np.bool_, (STEPS, CHANNELS))


@given(st.lists(st.one_of(st.none(), DENSE), min_size=1, max_size=4))
def test_a_table_gives_back_the_spikes(recordings: list[np.ndarray | None]) -> None:
    spikes = [{} if dense is None else {"audio": Spikes.from_dense(dense)} for dense in recordings]
    back = from_frame(to_frame(spikes), "audio", STEPS, CHANNELS)
    expected = [np.zeros((STEPS, CHANNELS)) if dense is None else dense for dense in recordings]
    assert np.array_equal(back.dense(), np.concatenate(expected))
    assert back.indptr.dtype == back.index.dtype == np.int32


def test_order_and_repetition_do_not_matter() -> None:
    frame = pd.DataFrame({"imu_step": [[1, 0, 1, 1]], "imu_channel": [[6, 2, 0, 6]]})
    spikes = from_frame(frame, "imu", STEPS, CHANNELS)
    assert spikes.indptr.tolist() == [0, 1, 3, 3, 3, 3] and spikes.index.tolist() == [2, 0, 6]


@pytest.mark.parametrize("absent", [None, float("nan"), []])
def test_a_cell_without_a_list_is_silence(absent: object) -> None:
    frame = pd.DataFrame({"imu_step": [absent, [1]], "imu_channel": [absent, [2]]}, dtype=object)
    assert from_frame(frame, "imu", STEPS, CHANNELS).counts().tolist() == [0] * 6 + [1] + [0] * 3


@pytest.mark.parametrize("wrong", [[0.5], ["a"], [[1]], "ab"])
def test_a_cell_that_is_not_a_list_of_whole_numbers_is_named(wrong: object) -> None:
    frame = pd.DataFrame({"imu_step": [[1], wrong], "imu_channel": [[1], [1]]}, dtype=object)
    with pytest.raises(BadInput, match=r"row 1: imu_step: must be a list of whole numbers"):
        from_frame(frame, "imu", STEPS, CHANNELS)
