"""What the engine is given wrongly is refused before a kernel runs, naming field, value and remedy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.engine import spiking_layer, spiking_readout
from snn_fusion.network.layers import SpikingReadout
from snn_fusion.network.neurons import LIF
from snn_fusion.network.spike_train import SpikeTrain

INT = np.int32
GOOD = Spikes(np.array([0, 2, 2, 3, 4], INT), np.array([0, 3, 1, 2], INT), 4)  # 2 recordings of 2 steps

bad_spikes = {
    "channel above": (
        Spikes(GOOD.indptr, np.array([0, 4, 1, 2], INT), 4),
        r"spikes.index\[1\]: channel 4 is not among 0",
    ),
    "channel below": (Spikes(GOOD.indptr, np.array([-1, 3, 1, 2], INT), 4), r"spikes.index\[0\]: channel -1 is not"),
    "channel twice": (
        Spikes(GOOD.indptr, np.array([3, 3, 1, 2], INT), 4),
        r"spikes.index\[1\]: channel 3 comes after 3",
    ),
    "rows back": (
        Spikes(np.array([0, 3, 2, 3, 4], INT), GOOD.index, 4),
        r"spikes.indptr\[2\]: is below the one before, 3",
    ),
    "rows too far": (Spikes(np.array([0, 2, 2, 3, 9], INT), GOOD.index, 4), "goes from 0 to 9, but there are 4 spikes"),
    "rows from 1": (Spikes(np.array([1, 2, 2, 3, 4], INT), GOOD.index, 4), "goes from 1 to 4, but there are 4"),
    "overflow": (Spikes(np.array([0, 2**31 - 1, -(2**31), 3, 4], INT), GOOD.index, 4), r"spikes.indptr\[2\]: is below"),
    "whole numbers": (Spikes(GOOD.indptr.astype(np.int64), GOOD.index, 4), "spikes.indptr: is int64 of shape"),
    "floats": (Spikes(GOOD.indptr, GOOD.index.astype(np.float32), 4), "spikes.index: is float32 of shape"),
    "a list": (Spikes([0, 4], GOOD.index, 4), "spikes.indptr: is list, not a flat int32 array"),
    "a table": (Spikes(GOOD.indptr, GOOD.index.reshape(2, 2), 4), r"spikes.index: is int32 of shape \(2, 2\)"),
    "no channels": (Spikes(GOOD.indptr, GOOD.index, 0), "spikes.channels: is 0"),
    "half a step": (Spikes(np.array([0, 2, 3, 4], INT), GOOD.index, 4), "3 rows are not whole steps of 2 recordings"),
    "no rows": (Spikes(np.array([0], INT), np.zeros(0, INT), 4), "0 rows are not whole steps"),
}


@pytest.mark.parametrize("name", bad_spikes)
def test_events_that_do_not_fit_are_refused(name: str) -> None:
    spikes, message = bad_spikes[name]
    with pytest.raises(BadInput, match=message):
        SpikeTrain.of(spikes, 2)


def weights(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


NEURON = LIF(torch.tensor(0.9))
bad_layers = {
    "wrong shape": (weights(5, 3), NEURON, None, r"weights: has shape \(5, 3\), not \(4, 3\)"),
    "not a matrix": (weights(4), NEURON, None, "weights: are not a floating-point matrix"),
    "whole numbers": (weights(4, 3).int(), NEURON, None, "weights: are not a floating-point matrix"),
    "NaN": (weights(4, 3) * float("nan"), NEURON, None, "weights: holds NaN or infinity"),
    "infinity": (weights(4, 3) * float("-inf"), NEURON, None, "weights: holds NaN or infinity"),
    "recurrence": (weights(4, 3), NEURON, weights(3, 4), r"recurrent weights: has shape \(3, 4\), not \(3, 3\)"),
    "precision": (
        weights(4, 3),
        NEURON,
        weights(3, 3).double(),
        "recurrent weights: is torch.float64, the weights are",
    ),
    "device": (
        weights(4, 3),
        NEURON,
        torch.ones(3, 3, device="meta"),
        "recurrent weights: is on meta, the weights are on",
    ),
    "decays": (weights(4, 3), LIF(torch.ones(2)), None, r"beta: has shape \(2,\), not \(3,\)"),
    "decay": (weights(4, 3), LIF(torch.tensor(float("nan"))), None, "beta: holds NaN"),
    "threshold": (weights(4, 3), LIF(torch.tensor(0.9), 0.0), None, "threshold: is 0.0"),
    "no threshold": (weights(4, 3), LIF(torch.tensor(0.9), float("nan")), None, "threshold: is nan"),
}


@pytest.mark.parametrize("name", bad_layers)
def test_parameters_that_do_not_fit_are_refused(name: str) -> None:
    given_weights, neuron, recurrent, message = bad_layers[name]
    with pytest.raises(BadInput, match=message):
        spiking_layer([(SpikeTrain.of(GOOD, 2), given_weights)], neuron, recurrent)


def test_a_readout_of_other_neurons_is_refused() -> None:
    source = [(SpikeTrain.of(GOOD, 2), weights(4, 3))]
    with pytest.raises(BadInput, match=r"readout: has shape \(2, 5\), not \(3, 5\)"):
        spiking_readout(source, NEURON, weights(2, 5), torch.tensor(0.9))


def test_sources_of_other_recordings_are_refused() -> None:
    with pytest.raises(BadInput, match="1 recordings of 4 steps beside 2 of 2"):
        spiking_layer([(SpikeTrain.of(GOOD, 2), weights(4, 3)), (SpikeTrain.of(GOOD, 1), weights(4, 3))], NEURON)


def test_a_tensor_that_is_no_spikes_is_refused() -> None:
    with pytest.raises(BadInput, match="neither 0 nor 1"):
        SpikeTrain.from_dense(torch.full((1, 2, 3), 0.5))
    with pytest.raises(BadInput, match="give a floating-point tensor"):
        SpikeTrain.from_dense(torch.ones(2, 3))


numbers = st.one_of(st.integers(-3, 8), st.sampled_from([2**31 - 1, -(2**31)]))


@settings(max_examples=400, deadline=None)
@given(st.lists(numbers, max_size=9), st.lists(numbers, max_size=9), st.integers(-1, 6), st.integers(-1, 5))
def test_whatever_comes_in_is_computed_rightly_or_refused(
    indptr: list[int], index: list[int], channels: int, recordings: int
) -> None:
    spikes = Spikes(np.array(indptr, INT), np.array(index, INT), channels)
    try:
        train = SpikeTrain.of(spikes, recordings)
    except BadInput:
        return
    dense = np.zeros((len(indptr) - 1, channels), bool)
    for row in range(len(indptr) - 1):
        dense[row, index[indptr[row] : indptr[row + 1]]] = True
    torch.manual_seed(0)
    net = SpikingReadout(channels, 5, 2)
    same = SpikeTrain.from_dense(torch.from_numpy(dense).float().view(recordings, -1, channels))
    net.path = "events"
    found = net(train)
    net.path = "torch"
    torch.testing.assert_close(found, net(same))


def test_a_network_with_nan_is_not_frozen() -> None:
    net = SpikingReadout(6, 8, 3)
    net.readout.data[2, 1] = torch.nan
    with pytest.raises(BadInput, match=r"readout.*NaN"):
        net.frozen()


@pytest.mark.parametrize(
    ("indptr", "index", "message"),
    [
        ([0, 2, 2], [1, 6], r"index\[1\].*channel 6"),
        ([0, 2, 2], [-1, 3], r"index\[0\].*channel -1"),
        ([0, 2, 2], [3, 3], r"index\[1\].*channel 3"),
        ([0, 2, 1], [3, 4], r"indptr"),
        ([0, 1, 3], [3, 4], r"indptr"),
        ([0], [], r"indptr"),
    ],
)
def test_a_frozen_network_refuses_events_that_do_not_fit(indptr: list[int], index: list[int], message: str) -> None:
    frozen = SpikingReadout(6, 8, 3).frozen()
    with pytest.raises(BadInput, match=message):
        frozen(Spikes(np.array(indptr, np.int32), np.array(index, np.int32), 6))
    with pytest.raises(BadInput, match="channels"):
        frozen(Spikes.empty(4, 7))
    with pytest.raises(BadInput, match="whole steps"):
        frozen(Spikes.empty(5, 6), 2)
    with pytest.raises(BadInput, match="indptr"):
        frozen(Spikes(np.zeros(3), np.zeros(0, np.int32), 6))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"path": "sparse"}, "path: is 'sparse'"),
        ({"neuron": LIF(torch.tensor(0.9), reset="hard")}, "reset: is 'hard'"),  # type: ignore[arg-type]
        ({"neuron": LIF(0.9)}, "beta: is a float"),  # type: ignore[arg-type]
        ({"neuron": LIF(torch.tensor(0.9), threshold=-1.0)}, "threshold: is -1"),
        ({"weights": torch.zeros(4, 0)}, "weights: have shape"),
        (
            {
                "weights": torch.zeros(4, 3, dtype=torch.bfloat16),
                "neuron": LIF(torch.tensor(0.9, dtype=torch.bfloat16)),
                "path": "events",
            },
            "does not take torch.bfloat16",
        ),
    ],
)
def test_what_is_misspelt_or_empty_is_refused(more: dict, message: str) -> None:
    sources = [(SpikeTrain.of(GOOD, 2), more.get("weights", torch.zeros(4, 3)))]
    with pytest.raises(BadInput, match=message):
        spiking_layer(sources, more.get("neuron", LIF(torch.tensor(0.9))), path=more.get("path"))


def test_a_train_of_events_is_checked_however_it_is_made() -> None:
    strided = Spikes(GOOD.indptr, np.repeat(GOOD.index, 2)[::2], 4)
    np.testing.assert_array_equal(SpikeTrain.of(strided, 2).as_events().index, GOOD.index)
    with pytest.raises(BadInput, match="not contiguous"):
        SpikeTrain(2, events=strided)
    with pytest.raises(BadInput, match="channel 9"):
        SpikeTrain(1, events=Spikes(np.array([0, 1], INT), np.array([9], INT), 4))


def test_a_network_below_its_threshold_at_rest_is_not_frozen() -> None:
    with pytest.raises(BadInput, match="threshold"):
        SpikingReadout(20, 70, 4, recurrent=True, threshold=-1.0).frozen()
