"""The fusion network and the graph that carries it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch
import torch

from snn_fusion.config import NetworkParams, Params
from snn_fusion.encoding.encoder import inputs
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.engine import gather
from snn_fusion.network.fusion import FusionNetwork, decide
from snn_fusion.network.graph import Graph, initial_generator, load_graph, save_graph

SIZES = {"audio": 12, "events": 20, "imu": 7}
STEPS = 15


def small(recurrent: tuple[str, ...] = (), seed: int = 0) -> FusionNetwork:
    shape = {"branch": {"audio": 8, "events": 9, "imu": 5}, "joint": 10, "recurrent": list(recurrent), "threshold": 1.0}
    network = FusionNetwork(SIZES, 4, NetworkParams.model_validate(shape), 25.0, initial_generator(seed))
    with torch.no_grad():
        for parameter in [*network.input.values(), *network.joint.values()]:
            parameter.mul_(4)  # enough for every layer to fire
    return network


def random_inputs(n: int, seed: int = 0) -> dict[str, Spikes]:
    rng = np.random.default_rng(seed)
    return {sense: Spikes.from_dense(rng.random((n * STEPS, size)) < 0.2) for sense, size in SIZES.items()}


def test_current_by_events_is_the_matrix_product() -> None:
    spikes = random_inputs(3)["events"]
    weights = torch.randn(20, 6, generator=initial_generator(1))
    torch.testing.assert_close(gather(spikes, weights), torch.from_numpy(spikes.dense()) @ weights)


@pytest.mark.parametrize("recurrent", [(), ("audio", "joint")])
def test_the_whole_network_follows_snntorch_step_by_step(recurrent: tuple[str, ...]) -> None:
    network, spikes = small(recurrent), random_inputs(3)
    dense = {s: torch.from_numpy(x.dense()).view(3, STEPS, -1) for s, x in spikes.items()}
    layer = {n: snntorch.Leaky(beta=float(b.detach()), reset_mechanism="zero") for n, b in network.beta.items()}
    readout = snntorch.Leaky(beta=float(network.beta["readout"].detach()), reset_mechanism="none")
    state = {n: neuron.init_leaky() for n, neuron in layer.items()}
    out, fired = readout.init_leaky(), {n: torch.zeros(3, s) for n, s in (("audio", 8), ("joint", 10))}
    expected = []
    with torch.no_grad():
        for t in range(STEPS):
            joint = torch.zeros(3, 10)
            for sense, x in dense.items():
                current = x[:, t] @ network.input[sense]
                if sense in recurrent:
                    current = current + fired[sense] @ network.recurrent[sense]
                fired[sense], state[sense] = layer[sense](current, state[sense])
                joint += fired[sense] @ network.joint[sense]
            if "joint" in recurrent:
                joint += fired["joint"] @ network.recurrent["joint"]
            fired["joint"], state["joint"] = layer["joint"](joint, state["joint"])
            _, out = readout(fired["joint"] @ network.readout, out)
            expected.append(out)
    activity = network.run(spikes, 3)
    np.testing.assert_allclose(activity.potential, torch.stack(expected, 1).numpy(), atol=1e-5)
    assert all(layer.sum() > 0 for layer in activity.spikes.values())


def test_a_missing_sense_is_a_silent_sense() -> None:
    network, spikes = small(), random_inputs(2)
    silent = {**spikes, "imu": Spikes.empty(2 * STEPS, SIZES["imu"])}
    without = {s: x for s, x in spikes.items() if s != "imu"}
    a, b = network.run(silent, 2), network.run(without, 2)
    np.testing.assert_array_equal(a.potential, b.potential)
    assert b.spikes["imu"].shape == (2, STEPS) and b.spikes["imu"].sum() == 0


def test_the_answer_does_not_depend_on_the_batch() -> None:
    network, spikes = small(), random_inputs(5)
    whole = network.run(spikes, 5).potential
    rows = slice(2 * STEPS, 3 * STEPS)
    one = {s: Spikes.from_dense(x.dense()[rows] > 0) for s, x in spikes.items()}
    np.testing.assert_allclose(network.run(one, 1).potential[0], whole[2], atol=1e-6)


def test_a_tie_goes_to_the_lowest_class() -> None:
    np.testing.assert_array_equal(decide(np.array([[1, 3, 3], [0, 0, 0]], np.float32)), [1, 0])


def test_fan_out_names_every_connection_with_its_source() -> None:
    table = small(("joint",)).fan_out
    assert table["input.imu"] == ("input:imu", 5)
    assert table["joint.audio"] == ("audio", 10)
    assert table["recurrent.joint"] == ("joint", 10)
    assert table["readout"] == ("joint", 4)


@pytest.fixture
def graph(params: Params, tmp_path: Path) -> Path:
    sizes = {s: inputs(params.encoding, s) for s in ("audio", "events", "imu")}
    shape = params.network.model_copy(update={"branch": {"audio": 8, "events": 8, "imu": 8}, "joint": 8})
    network = FusionNetwork(sizes, 3, shape, 25.0, initial_generator(0))
    save_graph(tmp_path / "graph", network, params.encoding, ["a", "b", "c"], {"commit": "abc", "seed": 0})
    return tmp_path / "graph"


def test_a_graph_comes_back_as_it_left_and_its_bytes_do_not_change(graph: Path, params: Params) -> None:
    loaded: Graph = load_graph(graph)
    assert loaded.classes == ("a", "b", "c") and loaded.encoding == params.encoding
    again = graph.parent / "again"
    digest = save_graph(again, loaded.network, loaded.encoding, loaded.classes, {"commit": "abc", "seed": 0})
    assert digest == loaded.digest
    for name in ("graph.nir", "graph.json", "weights.safetensors"):
        assert (again / name).read_bytes() == (graph / name).read_bytes()


def test_nir_holds_the_same_weights_and_decays(graph: Path) -> None:
    network, found = load_graph(graph).network, nir.read(graph / "graph.nir")
    np.testing.assert_array_equal(found.nodes["audio_to_joint"].weight.T, network.joint["audio"].detach().numpy())
    lif, dt = found.nodes["joint"], load_graph(graph).meta["dt_ms"] / 1000
    np.testing.assert_allclose(1 - dt / lif.tau, float(network.beta["joint"].detach()), atol=1e-6)
    np.testing.assert_allclose(lif.r * dt / lif.tau, 1, atol=1e-6)
    assert (lif.v_threshold == 1).all() and isinstance(found.nodes["readout"], nir.LI)


@pytest.mark.parametrize("name", ["graph.json", "graph.nir", "weights.safetensors", "digest"])
def test_a_graph_without_one_of_its_files_is_refused(graph: Path, name: str) -> None:
    (graph / name).unlink()
    with pytest.raises(BadInput, match=rf"{name}: missing: this is not a whole graph"):
        load_graph(graph)


def test_a_changed_file_is_noticed(graph: Path) -> None:
    meta = json.loads((graph / "graph.json").read_text())
    meta["classes"] = ["a", "b", "z"]
    (graph / "graph.json").write_text(json.dumps(meta))
    with pytest.raises(BadInput, match=r"digest: says .*, but the files give"):
        load_graph(graph)


def test_a_graph_of_another_format_or_with_other_weights_is_refused(graph: Path) -> None:
    from snn_fusion.network.graph import graph_digest

    def rewrite(change) -> None:
        meta = json.loads((graph / "graph.json").read_text())
        change(meta)
        (graph / "graph.json").write_text(json.dumps(meta))
        (graph / "digest").write_text(graph_digest(graph))

    rewrite(lambda meta: meta.update(format=99))
    with pytest.raises(BadInput, match="format 99 is not 1"):
        load_graph(graph)
    rewrite(lambda meta: (meta.update(format=1), meta["network"].update(joint=9)))
    with pytest.raises(BadInput, match="size mismatch"):
        load_graph(graph)
    shutil.rmtree(graph)
    with pytest.raises(BadInput, match="missing"):
        load_graph(graph)
