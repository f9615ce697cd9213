"""Pure step functions, pinned to snnTorch's Leaky: exact trajectories, and gradients."""

from __future__ import annotations

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import surrogate
from torch import Tensor

from snn_fusion.network.neurons import LIF, li_scan, lif_scan, lif_step


def leaky(current: Tensor, beta: float, threshold: float, slope: float, reset_delay: bool = True):
    """snnTorch's spikes and potentials (B, T, N), and the neuron."""
    neuron = snntorch.Leaky(
        beta=beta,
        threshold=threshold,
        reset_mechanism="zero",
        learn_beta=True,
        spike_grad=surrogate.fast_sigmoid(slope),
        reset_delay=reset_delay,
    )
    potential, spikes, potentials = neuron.init_leaky(), [], []
    for now in current.unbind(1):
        spike, potential = neuron(now, potential)
        spikes.append(spike)
        potentials.append(potential)
    return torch.stack(spikes, 1), torch.stack(potentials, 1), neuron


def test_an_exact_trajectory() -> None:
    params, state = LIF(torch.tensor(0.5)), torch.zeros(1)
    spikes, potentials = [], []
    for current in (0.6, 0.6, 0.6, 0.6, 0.0, 0.0):
        spike, state = lif_step(torch.tensor([current]), state, params)
        spikes.append(spike.item())
        potentials.append(state.item())
    assert spikes == [0, 0, 1, 0, 0, 0]
    # after the spike at 1.05 the neuron starts from zero
    assert potentials == pytest.approx([0.6, 0.9, 1.05, 0.6, 0.3, 0.15], abs=1e-6)


def test_a_potential_equal_to_the_threshold_does_not_spike() -> None:
    spike, _ = lif_step(torch.tensor([1.0]), torch.zeros(1), LIF(torch.tensor(0.9)))
    assert spike.item() == 0


shapes = st.tuples(st.integers(1, 4), st.integers(1, 25), st.integers(1, 9))


@settings(max_examples=40, deadline=None)
@given(shapes, st.floats(0, 1), st.floats(0.2, 3), st.integers(0, 10_000))
def test_step_and_scan_follow_snntorch_to_1e_6(shape, beta: float, threshold: float, seed: int) -> None:
    current = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    expected, potentials, neuron = leaky(current, beta, threshold, 25.0)
    params = LIF(neuron.beta.detach(), threshold)
    state = torch.zeros_like(current[:, 0])
    for t in range(shape[1]):
        spikes, state = lif_step(current[:, t], state, params)
        torch.testing.assert_close(state, potentials[:, t], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(spikes, expected[:, t], atol=0, rtol=0)
    torch.testing.assert_close(lif_scan(current, params), expected.detach(), atol=0, rtol=0)


def test_spikes_are_those_of_a_reset_within_the_step() -> None:
    current = torch.randn(3, 40, 8, generator=torch.Generator().manual_seed(1))
    delayed, _, _ = leaky(current, 0.8, 1.0, 25.0, reset_delay=True)
    immediate, _, _ = leaky(current, 0.8, 1.0, 25.0, reset_delay=False)
    torch.testing.assert_close(delayed, immediate, atol=0, rtol=0)


@settings(max_examples=25, deadline=None)
@given(shapes, st.floats(0.05, 0.95), st.sampled_from([1.0, 5.0, 25.0]), st.integers(0, 10_000))
def test_gradients_of_the_scan_equal_snntorchs(shape, beta: float, slope: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours = torch.randn(shape, generator=generator, dtype=torch.float32, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    weight = torch.randn(shape, generator=generator)
    spikes, _, neuron = leaky(theirs, beta, 1.0, slope)
    decay = neuron.beta.detach().clone().requires_grad_()
    (spikes * weight).sum().backward()
    (lif_scan(ours, LIF(decay, 1.0, slope)) * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    expected = torch.zeros(()) if neuron.beta.grad is None else neuron.beta.grad
    torch.testing.assert_close(decay.grad, expected, atol=1e-4, rtol=1e-4)


def test_a_recurrent_layer_follows_snntorch_with_spikes_fed_back_one_step_later() -> None:
    generator = torch.Generator().manual_seed(3)
    current, weights = torch.randn(2, 30, 7, generator=generator), 0.5 * torch.randn(7, 7, generator=generator)
    neuron = snntorch.Leaky(beta=0.9, reset_mechanism="zero")
    potential, spikes, expected = neuron.init_leaky(), torch.zeros(2, 7), []
    for now in current.unbind(1):
        spikes, potential = neuron(now + spikes @ weights, potential)
        expected.append(spikes)
    torch.testing.assert_close(
        lif_scan(current, LIF(torch.tensor(0.9)), weights), torch.stack(expected, 1), atol=0, rtol=0
    )


def test_the_readout_is_snntorchs_leaky_without_reset() -> None:
    current = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(4))
    neuron = snntorch.Leaky(beta=0.97, reset_mechanism="none")
    potential, expected = neuron.init_leaky(), []
    for now in current.unbind(1):
        _, potential = neuron(now, potential)
        expected.append(potential)
    torch.testing.assert_close(li_scan(current, torch.tensor(0.97)), torch.stack(expected, 1), atol=1e-6, rtol=1e-6)
