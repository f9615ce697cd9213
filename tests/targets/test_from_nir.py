"""Graphs of anybody's as populations: the equations of NIR's primitives, and what is refused."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import snntorch
import torch

from snn_fusion.config import NetworkParams
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import to_nir
from snn_fusion.targets.contract import dequantised, with_origins
from snn_fusion.targets.from_nir import program
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.populations import Program
from snn_fusion.targets.reference import simulate

DT = 1e-3


def lif(n: int, tau: float = 0.01, **more: float) -> nir.LIF:
    values = {"r": tau / DT, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | more
    return nir.LIF(tau=np.full(n, tau), **{k: np.full(n, v) for k, v in values.items()})


def chain(*nodes: object, shape: tuple[int, ...] = (4,), dt: float = DT, **semantics: object) -> Program:
    names = [f"n{i}" for i in range(len(nodes))]
    last = np.array([1])
    graph = nir.NIRGraph(
        nodes={"in": nir.Input(np.array(shape)), **dict(zip(names, nodes, strict=True)), "out": nir.Output(last)},
        edges=list(zip(["in", *names], [*names, "out"], strict=True)),
        type_check=False,
    )
    return program("g.nir", graph, dt, semantics.get("reset", "zero"), semantics.get("delay", 0))


def spikes(n: int, steps: int, channels: int, density: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(0).random((n, steps, channels)) < density).astype(float)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_parameter_given_once_is_that_of_every_neuron(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weight, out = nir.Linear(rng.standard_normal((5, 4))), nir.Linear(rng.standard_normal((2, 5)))
    once = {"r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    uniform = nir.LIF(np.full(shape, 0.01), **{k: np.full(shape, v) for k, v in once.items()})
    x = {"in": spikes(2, 10, 4)}
    wanted = simulate(chain(weight, lif(5), out), x).potential["out"]
    made = chain(weight, uniform, out)
    assert made["n1"].size == 5
    np.testing.assert_array_equal(simulate(made, x).potential["out"], wanted)


def test_products_of_sparse_matrices_lead_where_they_should() -> None:
    """A row of such a product that reaches every neuron has its targets in any order."""
    first, second = np.zeros((13, 12)), np.zeros((20, 13))
    first[[0, 1], 0] = 1
    second[1::2, 0], second[::2, 1] = np.arange(1, 11), -np.arange(1, 11)
    for i in range(1, 12):
        first[i + 1, i] = second[i, i + 1] = 1
    made = chain(
        nir.Linear(first), nir.Linear(second), nir.LI(*(np.full(20, v) for v in (DT, 1.0, 0.0))), shape=(12,), dt=DT / 2
    )
    x = spikes(3, 30, 12)
    potential, wanted = np.zeros((3, 20)), []
    for t in range(30):
        potential = 0.5 * potential + 0.5 * x[:, t] @ (second @ first).T
        wanted.append(potential)
    np.testing.assert_allclose(simulate(made, {"in": x}).potential["n2"], np.stack(wanted, 1), atol=1e-12)


def test_a_delay_of_each_neurons_own_parts_the_way() -> None:
    steps = np.array([0, 2, 2, 5])
    made = chain(
        nir.Delay(steps * np.float32(DT)), nir.Linear(np.eye(4)), nir.LI(*(np.full(4, v) for v in (0.01, 1.0, 0.0)))
    )
    assert sorted(c.delay for c in made["n2"].incoming) == [0, 2, 5]
    x = spikes(2, 12, 4)
    late = np.stack([np.pad(x[:, : 12 - d, i], ((0, 0), (d, 0))) for i, d in enumerate(steps)], 2)
    plain = chain(nir.Linear(np.eye(4)), nir.LI(*(np.full(4, v) for v in (0.01, 1.0, 0.0))))
    wanted = simulate(plain, {"in": late}).potential["n1"]
    np.testing.assert_array_equal(simulate(made, {"in": x}).potential["n2"], wanted)


def test_small_gains_and_long_time_constants_stay_what_they_are() -> None:
    made = chain(nir.Linear(1e8 * np.eye(4)), lif(4, r=1e-6))
    np.testing.assert_allclose(made["n1"].incoming[0].weights.data, 10.0)
    slow = chain(nir.Linear(np.eye(4)), lif(4, tau=1e5))["n1"].decay
    assert (slow < 1).all()


def test_a_layer_that_no_memory_holds_is_refused() -> None:
    pool = nir.SumPool2d(*(np.array([10**6, 10**6]),) * 2, np.array([0, 0]))
    with pytest.raises(BadInput, match=r"declares shape \[1, 1000000, 1000000\].*at most"):
        chain(pool, lif(1), shape=(1, 10**6, 10**6))


def test_recurrent_neurons_with_parameters_given_once_are_as_many_as_their_input() -> None:
    once = nir.LIF(*(np.array(v) for v in (0.01, 10.0, 0.0, 1.0)), v_reset=np.array(0.0))
    nodes = {"in": nir.Input(np.array([4])), "n": once, "back": nir.Linear(np.eye(4)), "out": nir.Output(np.array([4]))}
    edges = [("in", "n"), ("n", "back"), ("back", "n"), ("n", "out")]
    made = program("g.nir", nir.NIRGraph(nodes, edges, type_check=False), DT, "zero", 0)
    assert made["n"].size == 4 and {c.delay for c in made["n"].incoming} == {0, 1}


def test_potentials_are_counted_from_the_reset_and_shown_from_where_the_graph_does() -> None:
    made = chain(nir.Linear(np.eye(4)), lif(4, v_reset=-0.5, v_threshold=0.5, v_leak=-0.5))
    np.testing.assert_array_equal(made["n1"].origin, np.full(4, -0.5))
    np.testing.assert_allclose(made["n1"].threshold, 1.0)
    chip = Loihi2()
    artefact = with_origins(chip.lower(made), made)
    shown = dequantised(artefact, "n1", chip.run(artefact, {"in": np.zeros((1, 3, 4))}).potential["n1"])
    np.testing.assert_allclose(shown, -0.5)


def test_the_pipelines_network_computes_what_it_computed_in_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    params = NetworkParams(
        branch={"audio": 12, "events": 9, "imu": 7}, joint=11, recurrent=["joint", "imu"], threshold=1.0
    )
    network = FusionNetwork({"audio": 8, "imu": 5}, 4, params, generator=generator)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 2:
                weights.mul_(2)
    made = program("g", to_nir(network, 0.02), 0.02, "zero", 0)
    given = {"audio": spikes(3, 20, 8), "imu": spikes(3, 20, 5)}
    found = simulate(made, {f"input_{s}": x for s, x in given.items()}, np.float32)
    expected = network.run({s: Spikes.from_dense(x.reshape(60, -1) > 0) for s, x in given.items()}, 3)
    np.testing.assert_allclose(found.potential["readout"], expected.potential, atol=1e-5)
    for name in ("audio", "imu", "joint"):
        np.testing.assert_array_equal(found.spikes[name].sum(2), expected.spikes[name])


def test_a_path_of_linear_nodes_is_one_connection() -> None:
    rng = np.random.default_rng(0)
    conv = nir.Conv2d((6, 6), rng.standard_normal((3, 2, 3, 3)), 1, 1, 1, 1, rng.standard_normal(3))
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    affine = nir.Affine(rng.standard_normal((5, 27)), rng.standard_normal(5))
    made = chain(conv, pool, nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1), affine, lif(5), shape=(2, 6, 6))
    (population,) = made
    assert [c.weights.shape for c in population.incoming] == [(72, 5)]
    x = spikes(1, 1, 72)
    image = torch.from_numpy(x.reshape(1, 2, 6, 6))
    image = torch.nn.functional.conv2d(image, torch.from_numpy(conv.weight), torch.from_numpy(conv.bias), padding=1)
    image = torch.nn.functional.avg_pool2d(image, 2).flatten().numpy()
    expected = affine.weight @ image + affine.bias
    np.testing.assert_allclose(simulate(made, {"in": x}).potential["n4"][0, 0], expected, atol=1e-12)


def test_neurons_follow_their_equations_step_by_step() -> None:
    n, x = 3, spikes(1, 30, 3, 0.5)
    tau, r, leak, threshold, start = 0.02, 15.0, 0.1, 1.3, -0.2
    node = lif(n, tau, r=r, v_leak=leak, v_threshold=threshold, v_reset=start)
    made = chain(node, shape=(3,))
    found, u = simulate(made, {"in": x}), np.full(n, start)
    for t in range(30):
        u = u + DT / tau * (leak - u + r * x[0, t])
        np.testing.assert_allclose(found.potential["n0"][0, t], u - start, atol=1e-12)
        np.testing.assert_array_equal(found.spikes["n0"][0, t], u > threshold)
        u = np.where(u > threshold, start, u)
    assert found.spikes["n0"].sum() > 3


def test_a_current_based_neuron_filters_its_input_first() -> None:
    x, syn, mem = spikes(1, 30, 2, 0.5), 0.005, 0.02
    each = {k: np.full(2, v) for k, v in {"r": 9.0, "v_leak": 0.0, "v_threshold": 1.0, "w_in": 2.0}.items()}
    made = chain(nir.CubaLIF(tau_syn=np.full(2, syn), tau_mem=np.full(2, mem), **each), shape=(2,))
    found, u, i = simulate(made, {"in": x}), np.zeros(2), np.zeros(2)
    for t in range(30):
        i = i + DT / syn * (2.0 * x[0, t] - i)
        u = u + DT / mem * (9.0 * i - u)
        np.testing.assert_allclose(found.potential["n0"][0, t], u, atol=1e-12)
        u = np.where(u > 1.0, 0, u)


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_every_reset_is_snntorchs(reset: str, delay: int) -> None:
    made, x = chain(lif(4), reset=reset, delay=delay), spikes(1, 30, 4, 0.6)
    found = simulate(made, {"in": x})
    leaky = snntorch.Leaky(beta=0.9, threshold=1.0, reset_mechanism=reset, reset_delay=bool(delay))
    mem = leaky.init_leaky()
    for t in range(30):
        fired, mem = leaky(torch.from_numpy(x[:, t]), mem)
        np.testing.assert_array_equal(found.spikes["n0"][:, t], fired.numpy())
        if delay:
            np.testing.assert_allclose(found.potential["n0"][:, t], mem.numpy(), atol=1e-6)


def test_a_threshold_node_has_nothing_to_reset() -> None:
    made = chain(nir.Threshold(np.full(4, 0.5)), reset="subtract", delay=1)
    assert simulate(made, {"in": np.ones((1, 6, 4))}).spikes["n0"].all()


def test_a_bias_counts_once_whatever_comes_into_its_node() -> None:
    affine = nir.Affine(np.eye(2), np.array([0.25, 0.5]))
    nodes = {"one": nir.Input(np.array([2])), "two": nir.Input(np.array([2])), "w": affine, "lif": lif(2)}
    edges = [("one", "w"), ("two", "w"), ("w", "lif"), ("lif", "out")]
    made = program(
        "g", nir.NIRGraph(nodes | {"out": nir.Output(np.array([2]))}, edges, type_check=False), DT, "zero", 0
    )
    np.testing.assert_allclose(made["lif"].bias, [0.25, 0.5])
    assert [c.source for c in made["lif"].incoming] == ["one", "two"]


def test_a_delay_before_the_output_is_kept() -> None:
    made = chain(lif(4), nir.Delay(np.full(4, 3 * DT)))
    x = spikes(1, 12, 4, 0.9)
    found = simulate(made, {"in": x})
    assert made.output == "out"
    np.testing.assert_array_equal(found.potential["out"][:, 3:], found.spikes["n0"][:, :-3])


def test_only_the_way_without_a_delay_waits_in_a_cycle() -> None:
    nodes = {"in": nir.Input(np.array([2])), "lif": lif(2), "w": nir.Linear(np.eye(2)), "v": nir.Linear(np.eye(2))}
    nodes |= {"wait": nir.Delay(np.full(2, 2 * DT)), "out": nir.Output(np.array([2]))}
    edges = [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "wait"), ("wait", "v"), ("v", "lif"), ("lif", "out")]
    made = program("g", nir.NIRGraph(nodes, edges, type_check=False), DT, "zero", 0)
    assert sorted(c.delay for c in made["lif"].incoming if c.source == "lif") == [1, 2]


def test_delays_and_recurrence_take_their_steps() -> None:
    graph = nir.NIRGraph(
        nodes={
            "in": nir.Input(np.array([2])),
            "wait": nir.Delay(np.full(2, 3 * DT)),
            "a": lif(2),
            "back": nir.Linear(np.eye(2)[::-1] * 2.0),
            "out": nir.Output(np.array([2])),
        },
        edges=[("in", "wait"), ("wait", "a"), ("a", "back"), ("back", "a"), ("a", "out")],
        type_check=False,
    )
    made = program("g", graph, DT, "zero", 0)
    assert sorted((c.source, c.delay) for c in made["a"].incoming) == [("a", 1), ("in", 3)]
    x = np.zeros((1, 8, 2))
    x[0, 1, 0] = 2
    assert [tuple(row) for row in simulate(made, {"in": x}).spikes["a"][0]] == [
        (0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (0, 1), (1, 0), (0, 1),
    ]  # fmt: skip


def test_a_subgraph_is_its_nodes() -> None:
    inner = nir.NIRGraph(
        nodes={"input": nir.Input(np.array([4])), "w": nir.Linear(np.eye(4)), "output": nir.Output(np.array([4]))},
        edges=[("input", "w"), ("w", "output")],
        type_check=False,
    )
    x = spikes(2, 10, 4)
    inside, plain = chain(inner, lif(4)), chain(nir.Linear(np.eye(4)), lif(4))
    np.testing.assert_array_equal(
        simulate(inside, {"in": x}).potential["n1"], simulate(plain, {"in": x}).potential["n1"]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(lif(3)), r"n0: shape mismatch: \[4\] comes from in, \[3\] is expected"),
        (lambda: chain(nir.Linear(np.ones((2, 5))), lif(2)), r"\[4\] comes in, \[5\] is expected"),
        (lambda: chain(lif(4, tau=0.0005)), r"tau 0.0005 s, so a decay of -1 a step"),
        (lambda: chain(lif(4, v_threshold=-1.0)), "a threshold -1 above its reset"),
        (lambda: chain(nir.Delay(np.array([0.0005] * 4)), lif(4)), r"a delay of 0.5 steps.*give whole numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


def test_a_cycle_without_a_neuron_is_refused_and_named() -> None:
    graph = nir.NIRGraph(
        nodes={
            "in": nir.Input(np.array([2])),
            "a": nir.Linear(np.eye(2)),
            "b": nir.Linear(np.eye(2)),
            "lif": lif(2),
            "out": nir.Output(np.array([2])),
        },
        edges=[("in", "a"), ("a", "b"), ("b", "a"), ("b", "lif"), ("lif", "out")],
        type_check=False,
    )
    with pytest.raises(BadInput, match=r"cycle without a neuron"):
        program("g.nir", graph, DT, "zero", 0)
