"""The engine: on every path snnTorch's trajectories and gradients, whatever the shape, density, reset and decay."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import surrogate
from torch import Tensor

from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network import threads
from snn_fusion.network.engine import DENSE_ABOVE, choose_path, spiking_layer, spiking_readout
from snn_fusion.network.layers import SpikingLayer, SpikingReadout
from snn_fusion.network.neurons import LIF, li_step, lif_step
from snn_fusion.network.spike_train import SpikeTrain

PATHS = ("events", "dense", "torch")
SLOPE = 25.0


def grid(values: Tensor) -> Tensor:
    """Multiples of 2^-8: sums of them are exact in any order, so that no spike hangs on the last bit."""
    return (values * 256).round() / 256


def some_spikes(b: int, t: int, c: int, density: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(b, t, c, generator=generator) < density).float()
    spikes[0, t // 2 :] = 0  # empty rows, and with one recording more a silent one
    if b > 1:
        spikes[-1] = 0
    return spikes


def events_of(spikes: Tensor) -> SpikeTrain:
    return SpikeTrain.of(Spikes.from_dense(spikes.numpy().reshape(-1, spikes.shape[2]) > 0), len(spikes))


def snntorchs(
    spikes: Tensor, w: Tensor, out: Tensor, beta: Tensor, outer: Tensor, reset: str, back: Tensor | None = None
):
    """Spikes (B, T, N) and readout potentials (B, T, O) of snnTorch's own loop."""
    beta, outer = beta.detach(), outer.detach()
    layer = snntorch.Leaky(beta=beta, reset_mechanism=reset, spike_grad=surrogate.fast_sigmoid(SLOPE), learn_beta=True)
    readout = snntorch.Leaky(beta=outer, reset_mechanism="none", learn_beta=True)
    state, potential, fired = layer.init_leaky(), readout.init_leaky(), torch.zeros(len(spikes), w.shape[1])
    all_fired, potentials = [], []
    for now in spikes.unbind(1):
        current = now @ w if back is None else now @ w + fired @ back
        fired, state = layer(current, state)
        _, potential = readout(fired @ out, potential)
        all_fired.append(fired)
        potentials.append(potential)
    return torch.stack(all_fired, 1), torch.stack(potentials, 1), layer.beta, readout.beta


def off(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of b's largest entry."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-30))


def assert_same_gradient(ours: Tensor, theirs: Tensor, terms: Callable[[], Tensor] | None = None) -> None:
    """Cosine above 0.99999, largest error below 1e-4 of the largest entry.

    A decay's gradient is one sum over all steps and neurons. Where its terms cancel, it has fewer digits than that in
    float32, ours and theirs: then ours must be within 5e-6 of what the `terms`, in double precision, add up to without
    their signs.
    """
    a, b = ours.double().flatten(), theirs.double().flatten()
    if float(b.norm()) < 1e-9:
        assert float(a.norm()) < 1e-6
        return
    if float(torch.nn.functional.cosine_similarity(a, b, 0)) > 0.99999 and off(a, b) < 1e-4:
        return
    assert terms is not None, f"{off(a, b):.1e} off"
    each = terms()
    assert float((a - each.sum()).abs()) < 5e-6 * float(each.abs().sum())


def decay_terms(spikes: Tensor, case: dict, weight: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What every recording, step and neuron adds to the gradients of the decays, in double precision."""
    w, out, beta, outer = (tensors[name].double() for name in ("w", "out", "beta", "outer"))
    b, t, n, o = *spikes.shape[:2], *out.shape
    each = {"beta": beta.expand(t, b, n).clone(), "outer": outer.expand(t, b, o).clone()}
    for decay in each.values():
        decay.requires_grad_()
    fired = state = torch.zeros(b, n, dtype=torch.double)
    potential, loss = torch.zeros(b, o, dtype=torch.double), torch.zeros((), dtype=torch.double)
    for step in range(t):
        current = spikes[:, step].double() @ w
        if "back" in tensors:
            current = current + fired @ tensors["back"].double()
        fired, state = lif_step(current, state, LIF(each["beta"][step], 1.0, SLOPE, case["reset"]))
        potential = li_step(fired @ out, potential, each["outer"][step])
        loss = loss + (potential * weight[:, step].double()).sum()
    loss.backward()
    return {name: decay.grad for name, decay in each.items()}


cases = st.fixed_dictionaries(
    {
        "b": st.integers(1, 11),
        "t": st.integers(1, 12),
        "c": st.integers(1, 14),
        "n": st.integers(1, 70),
        "o": st.sampled_from([1, 2, 5, 33]),
        "density": st.sampled_from([0.0, 0.03, 0.3, 1.0]),
        "beta": st.sampled_from([0.0, 0.5, 0.9, 1.0]),
        "reset": st.sampled_from(["zero", "subtract", "none"]),
        "recurrent": st.booleans(),
        "last": st.booleans(),
        "seed": st.integers(0, 10_000),
    }
)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases)
def test_trajectories_and_gradients_are_snntorchs(path: str, case: dict) -> None:
    b, t, c, n, o = (case[k] for k in "btcno")
    spikes = some_spikes(b, t, c, case["density"], case["seed"])
    generator = torch.Generator().manual_seed(case["seed"] + 1)
    tensors = {"w": torch.randn(c, n, generator=generator), "out": torch.randn(n, o, generator=generator)}
    tensors["back"] = 0.5 * torch.randn(n, n, generator=generator) / n**0.5
    tensors = {name: grid(values) for name, values in tensors.items()}
    tensors |= {"beta": torch.tensor(case["beta"]), "outer": torch.tensor(0.9)}
    if not case["recurrent"]:
        del tensors["back"]
    weight = torch.randn(b, t, o, generator=generator)
    if case["last"]:
        weight[:, :-1] = 0

    theirs, ours = ({k: v.clone().requires_grad_() for k, v in tensors.items()} for _ in range(2))
    fired, expected, theirs["beta"], theirs["outer"] = snntorchs(spikes, **theirs, reset=case["reset"])
    (expected * weight).sum().backward()
    potential, train = spiking_readout(
        [(events_of(spikes), ours["w"])],
        LIF(ours["beta"], 1.0, SLOPE, case["reset"]),
        ours["out"],
        ours["outer"],
        ours.get("back"),
        last=case["last"],
        path=path,
    )
    (potential * (weight[:, -1] if case["last"] else weight)).sum().backward()
    torch.testing.assert_close(potential, expected[:, -1] if case["last"] else expected, atol=1e-5, rtol=1e-6)
    np.testing.assert_array_equal(train.as_events().dense().reshape(b, t, n), fired.detach().numpy())
    for name, mine in ours.items():
        expected = torch.zeros_like(mine) if theirs[name].grad is None else theirs[name].grad
        cancels = (lambda name=name: decay_terms(spikes, case, weight, tensors)[name]) if mine.ndim == 0 else None
        assert_same_gradient(mine.grad, expected, cancels)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_layers_stack_and_a_loss_on_their_spikes_reaches_every_weight(path: str, recurrent: bool) -> None:
    spikes = some_spikes(5, 12, 20, 0.2, 3)
    found = {}
    for name in (path, "torch"):
        torch.manual_seed(0)
        layers = [
            SpikingLayer(20, 40, recurrent=recurrent, path=name),
            SpikingLayer(40, 33, reset="subtract", path=name),
        ]
        last = SpikingReadout(33, 16, 4, recurrent=recurrent, path=name)
        for layer in (*layers, last):
            layer.weights.data = grid(3 * layer.weights.data)
        first = layers[0](events_of(spikes))
        second = layers[1](first)
        loss = (
            last(second)[:, -1].square().sum() + first.dense.mean() + (second.dense.mean((0, 1)) - 0.1).square().sum()
        )
        loss.backward()
        found[name] = [loss.detach(), *(p.grad for layer in (*layers, last) for p in layer.parameters())]
    torch.testing.assert_close(found[path][0], found["torch"][0])
    for mine, other in zip(found[path][1:], found["torch"][1:], strict=True):
        assert_same_gradient(mine, other)


def test_several_sources_add_up_and_each_may_be_silent_in_other_recordings() -> None:
    a, b = some_spikes(4, 9, 6, 0.4, 1), some_spikes(4, 9, 8, 0.4, 2).flip(0)
    torch.manual_seed(0)
    first, second = SpikingLayer(6, 10), SpikingLayer(8, 12)
    w, v = grid(torch.randn(10, 9)), grid(torch.randn(12, 9))
    found = {}
    for path in PATHS:
        first.path = second.path = path
        first.zero_grad(), second.zero_grad()
        sources = [(first(events_of(a)), w), (second(events_of(b)), v)]
        spiking_layer(sources, LIF(torch.tensor(0.8)), path=path).dense.square().sum().backward()
        found[path] = first.weights.grad.clone(), second.weights.grad.clone()
    for path in ("events", "dense"):
        for mine, other in zip(found[path], found["torch"], strict=True):
            assert_same_gradient(mine, other)


@pytest.mark.parametrize("path", PATHS)
def test_one_decay_a_neuron_is_as_good_as_one_a_layer(path: str) -> None:
    train, w = events_of(some_spikes(3, 10, 8, 0.4, 5)), grid(torch.randn(8, 40, generator=torch.Generator()))
    each = torch.full((40,), 0.7, requires_grad=True)
    one = torch.tensor(0.7, requires_grad=True)
    w.requires_grad_()
    by_neuron = spiking_layer([(train, w)], LIF(each), path=path)
    by_layer = spiking_layer([(train, w)], LIF(one), path=path)
    torch.testing.assert_close(by_neuron.dense, by_layer.dense)
    by_neuron.dense.sum().backward()
    by_layer.dense.sum().backward()
    torch.testing.assert_close(each.grad.sum(), one.grad)


@pytest.mark.parametrize("path", ["events", "dense"])
def test_each_neuron_may_have_a_decay_of_its_own(path: str) -> None:
    spikes, found = some_spikes(4, 12, 20, 0.3, 6), {}
    generator = torch.Generator().manual_seed(1)
    w, out = grid(torch.randn(20, 70, generator=generator)), grid(torch.randn(70, 3, generator=generator))
    decays = grid(torch.rand(70, generator=generator))
    for name in (path, "torch"):
        beta = decays.clone().requires_grad_()
        potential, train = spiking_readout([(events_of(spikes), w)], LIF(beta), out, torch.tensor(0.9), path=name)
        potential.square().sum().backward()
        found[name] = train.as_events().dense(), beta.grad
    np.testing.assert_array_equal(found[path][0], found["torch"][0])
    assert_same_gradient(found[path][1], found["torch"][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_path_is_there_in_both_precisions(dtype: torch.dtype) -> None:
    spikes, found = some_spikes(6, 12, 20, 0.3, 4), {}
    for path in PATHS:
        torch.manual_seed(0)
        net = SpikingReadout(20, 40, 3, recurrent=True, path=path).to(dtype)
        net.weights.data = grid(3 * net.weights.data)
        out = net(events_of(spikes))
        out.square().sum().backward()
        found[path] = [out.detach(), *(p.grad for p in net.parameters())]
        assert out.dtype == dtype
    for path in ("events", "dense"):
        for mine, other in zip(found[path], found["torch"], strict=True):
            assert off(mine, other) < (1e-4 if dtype == torch.float32 else 1e-12)


@pytest.fixture
def hands_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest piece of work goes to a thread of its own."""
    monkeypatch.setattr(threads, "HAND_OVER", 1)


@pytest.mark.usefixtures("hands_over_everything")
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("path", ["events", "dense"])
def test_the_result_does_not_depend_on_the_number_of_threads(path: str, last: bool, recurrent: bool) -> None:
    spikes, found = some_spikes(40, 12, 30, 0.2, 1), []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            net = SpikingReadout(30, 100, 5, path=path, recurrent=recurrent)
            out = net(events_of(spikes), last=last)
            out.square().sum().backward()
            found.append([out.detach(), *(p.grad for p in net.parameters())])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        tolerance = {"atol": 0, "rtol": 0} if path == "events" else {}
        torch.testing.assert_close(other, found[0], **tolerance)


@pytest.mark.usefixtures("hands_over_everything")
def test_many_threads_at_once_get_the_answers_of_one() -> None:
    torch.manual_seed(0)
    net = SpikingReadout(20, 64, 4)
    trains = [events_of(some_spikes(1 + i % 12, 10, 20, 0.2, i)) for i in range(24)]
    with torch.no_grad():
        expected = [net(train) for train in trains]

        def answer(i: int) -> Tensor:
            with torch.no_grad():
                return net(trains[i % 24])

        with ThreadPoolExecutor(16) as pool:
            for i, found in enumerate(pool.map(answer, range(400))):
                torch.testing.assert_close(found, expected[i % 24], atol=0, rtol=0)


def test_without_gradients_the_answer_is_the_same() -> None:
    torch.manual_seed(0)
    net, train = SpikingReadout(20, 48, 4, recurrent=True), events_of(some_spikes(5, 10, 20, 0.3, 1))
    with torch.no_grad():
        found = net(train), net(train, last=True)
    torch.testing.assert_close(found, (net(train).detach(), net(train, last=True).detach()), atol=0, rtol=0)


def test_the_last_potential_alone_is_that_of_all_steps_up_to_rounding() -> None:
    torch.manual_seed(0)
    net, train = SpikingReadout(20, 48, 4, recurrent=True), events_of(some_spikes(5, 10, 20, 0.3, 1))
    torch.testing.assert_close(net(train, last=True), net(train)[:, -1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.usefixtures("hands_over_everything")
def test_a_frozen_network_answers_to_the_bit_as_the_module_did_when_it_was_frozen(recurrent: bool, reset: str) -> None:
    torch.manual_seed(0)
    net = SpikingReadout(20, 70, 4, recurrent=recurrent, reset=reset)
    frozen, spikes = net.frozen(), some_spikes(7, 10, 20, 0.3, 1)
    with torch.no_grad():
        expected = net(events_of(spikes), last=True).numpy()
        for parameter in net.parameters():
            parameter.mul_(0.5)
    np.testing.assert_array_equal(frozen(events_of(spikes).as_events(), 7), expected)
    for i in range(7):
        np.testing.assert_array_equal(frozen(events_of(spikes[i : i + 1]).as_events()), expected[i : i + 1])


@pytest.mark.parametrize("path", PATHS)
def test_writing_to_an_answer_before_its_gradient_is_an_error_or_changes_nothing(path: str) -> None:
    train = events_of(some_spikes(3, 8, 20, 0.4, 2))
    grads = []
    for doubled in (False, True):
        torch.manual_seed(0)
        net = SpikingReadout(20, 16, 3, path=path)
        out = net(train)
        out = out * 2 if not doubled else out
        try:
            out = out.mul_(2) if doubled else out
            out.sum().backward()
        except RuntimeError as error:
            assert "inplace" in str(error)
            return
        grads.append(net.readout_beta.grad.clone())
    torch.testing.assert_close(*grads)


def test_looking_at_spikes_without_gradients_does_not_take_theirs_away() -> None:
    torch.manual_seed(0)
    layer = SpikingLayer(20, 16)
    out = layer(events_of(some_spikes(3, 8, 20, 0.4, 2)))
    with torch.no_grad():
        rate = float(out.dense.mean())
    out.dense.mean().backward()
    assert rate > 0 and float(layer.weights.grad.abs().sum()) > 0


def test_a_second_derivative_is_refused() -> None:
    layer = SpikingLayer(20, 16)
    loss = layer(events_of(some_spikes(3, 8, 20, 0.4, 2))).dense.square().sum()
    (first,) = torch.autograd.grad(loss, [layer.weights], create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiate twice|does not require grad"):
        first.sum().backward()


def test_a_gradient_uses_the_spikes_that_were_given_whatever_becomes_of_their_arrays() -> None:
    spikes = events_of(some_spikes(3, 8, 20, 0.4, 2)).as_events()
    found = []
    for reused in (False, True):
        torch.manual_seed(0)
        net = SpikingReadout(20, 16, 3)
        mine = Spikes(spikes.indptr.copy(), spikes.index.copy(), 20)
        out = net(mine, 3, last=True)
        if reused:
            mine.index[:] = 1 << 20
        out.sum().backward()
        found.append(net.weights.grad)
    torch.testing.assert_close(*found, atol=0, rtol=0)


def test_the_path_is_chosen_by_measured_density_and_precision() -> None:
    def path(density: float, dtype: torch.dtype = torch.float32) -> str:
        train = events_of((torch.rand(4, 10, 200, generator=torch.Generator().manual_seed(0)) < density).float())
        return choose_path([(train, torch.zeros(200, 3, dtype=dtype))])

    assert (path(DENSE_ABOVE / 2), path(2 * DENSE_ABOVE)) == ("events", "dense")
    assert path(0.01, torch.bfloat16) == "torch"


def test_an_ordinary_optimiser_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    spikes = (torch.rand(60, 15, 30, generator=generator) < 0.05).float()
    for i, label in enumerate(labels):
        spikes[i, :, 10 * label : 10 * label + 3] = 1.0
    torch.manual_seed(0)
    hidden, out = SpikingLayer(30, 40, slope=5), SpikingReadout(40, 30, 3, slope=5)
    optimiser = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(out(hidden(events_of(spikes)), last=True), labels)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1
