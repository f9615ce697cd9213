"""Akida: our whole numbers and akida's own software agree in every activation and sum; what does not fit is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.targets import toolchain
from snn_fusion.targets.akida.edge import Rule, decide, learn
from snn_fusion.targets.akida.target import Akida, mapping
from snn_fusion.targets.akida.unroll import unroll
from snn_fusion.targets.artefact import load_artefact, save_artefact
from snn_fusion.targets.compile import compile_graph
from snn_fusion.targets.contract import Artefact
from snn_fusion.targets.populations import Connection, Population, Program
from snn_fusion.targets.reference import simulate as reference

ROOT = Path(__file__).resolve().parents[2]
CHIP = {1: Akida("akida", 1), 2: Akida("akida2", 2)}


def _installed() -> bool:
    return (ROOT / "toolchains" / "akida" / ".venv" / "bin" / "python").exists()


akida = pytest.mark.skipif(os.environ.get("AKIDA") == "no" or not _installed(), reason="AKIDA=no, or not installed")


def weights(source: int, target: int, seed: int = 0) -> csr_array:
    return csr_array(np.random.default_rng(seed).standard_normal((source, target)))


def whole_weights(source: int, target: int, seed: int = 0) -> csr_array:
    return csr_array(np.random.default_rng(seed).integers(-7, 8, (source, target)).astype(float))


def population(name: str, *incoming: Connection, levels: int = 1, step: float | None = None, **more: object):
    size = incoming[0].weights.shape[1]
    none, threshold = np.zeros(size), np.full(size, more.pop("threshold", 2.0))
    steps = None if step is None else np.full(size, step)
    return replace(Population(name, none, none, none, threshold, incoming, levels=levels, step=steps), **more)


def readout(source: str, size: int, made=weights) -> Population:
    return population("out", Connection(source, made(size, 4, 9)), threshold=np.inf, spikes=False)


def network(levels: int = 1, step: float | None = None, delays: tuple[int, ...] = (0,), made=weights, threshold=2.0):
    """Two senses, what they say together some steps back, a readout."""
    more = {"levels": levels, "step": step, "threshold": threshold}
    a = population("a", Connection("x", made(30, 20, 1)), **more)
    b = population("b", Connection("y", made(12, 8, 2)), **more)
    ways = [Connection(s, made(n, 10, 3 + d), d) for s, n in (("a", 20), ("b", 8)) for d in delays]
    return Program(
        {"x": 30, "y": 12}, (a, b, population("c", *ways, **more), readout("c", 10, made)), "out", 0.1, "none", 0
    )


A, B, C, OUT = network().populations


def counted(n: int = 3, steps: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {"x": rng.integers(0, 6, (n, steps, 30)), "y": rng.integers(0, 3, (n, steps, 12))}


CASES = {
    "version 1, binary": (1, network()),
    "version 1, 2 bits": (1, network(3, 2.0)),
    "version 1, 4 bits": (1, network(15, 1.7)),
    "version 1, a bias": (1, replace(network(), populations=(
        population("a", Connection("x", weights(30, 20)), bias=np.linspace(-3, 3, 20)), readout("a", 20)))),
    "version 1, two ways from the same neurons": (1, replace(network(), populations=(
        A, B, replace(C, incoming=(*C.incoming, *C.incoming)), OUT))),
    "version 2, binary": (2, network(delays=(0, 1, 2))),
    "version 2, no delays": (2, network(15, 1.7)),
    "version 2, longest delay": (2, network(15, 1.7, (0, 4, 9))),
    "version 2, 100 levels": (2, network(100, 0.3, (0, 2))),
    "version 2, a readout with a bias": (2, replace(network(), populations=(
        population("a", Connection("x", weights(30, 20), 3)),
        replace(readout("a", 20), bias=np.array([0.5, -300.0, 4.0, 0.0]))))),
    "version 2, a network that ends in spikes": (2, replace(
        network(), populations=(replace(network()["a"], name="out"),))),
}  # fmt: skip


@akida
@pytest.mark.parametrize("name", CASES)
def test_every_activation_and_sum_is_akidas(name: str) -> None:
    version, program = CASES[name]
    used = {c.source for one in program for c in one.incoming} & set(program.inputs)
    program = replace(program, inputs={name: size for name, size in program.inputs.items() if name in used})
    artefact = CHIP[version].lower(program)
    inputs = {name: values for name, values in counted().items() if name in used}
    found = CHIP[version].conform(artefact, inputs)
    assert (found.spikes, found.potentials) == (0, 0)
    assert found.compared == 3 * 12 * sum(one.size for one in program)
    assert CHIP[version].run(artefact, inputs).spikes[program.populations[0].name].sum() > 20
    assert ("AKD1000, AKD1500" if version == 1 else "SixNodesIPv2") in found.tool


@pytest.mark.parametrize("version", [1, 2])
def test_a_tuned_networks_whole_numbers_stay_as_they_are(version: int) -> None:
    program = network(15, 8.0, made=whole_weights, threshold=3.5)
    found, wanted = CHIP[version].run(CHIP[version].lower(program), counted()), reference(program, counted())
    for one in program:
        np.testing.assert_array_equal(found.potential[one.name], wanted.potential[one.name])
        if one.spikes:
            np.testing.assert_array_equal(found.spikes[one.name], wanted.spikes[one.name])
            assert len(np.unique(found.spikes[one.name])) > 5


def test_time_laid_out_in_space_gives_the_last_steps_answer() -> None:
    program = network(15, 8.0, (0, 1, 5), whole_weights, threshold=3.5)
    flat = unroll(program, 8)
    assert flat.inputs == {"x": 240, "y": 96}
    assert {one.name: one.size for one in flat} == {"a": 60, "b": 24, "c": 10, "out": 4}  # of three steps only
    inputs = counted(5, 8)
    frames = {name: values.reshape(5, 1, -1) for name, values in inputs.items()}
    last = CHIP[2].run(CHIP[2].lower(program), inputs).potential["out"][:, -1]
    np.testing.assert_array_equal(CHIP[1].run(CHIP[1].lower(flat), frames).potential["out"][:, 0], last)


def test_third_parties_weights_are_near_the_reference() -> None:
    program = network()
    found, wanted = CHIP[2].run(CHIP[2].lower(program), counted()), reference(program, counted())
    assert (found.spikes["a"] != wanted.spikes["a"]).mean() < 0.02


@akida
def test_every_layer_maps_onto_virtual_hardware_and_what_does_not_is_said(tmp_path: Path) -> None:
    for version, layers in ((1, 3), (2, 3)):
        for device in mapping(CHIP[version].lower(network(15, 1.7))):
            assert device["maps"] and device["virtual"]
            assert len(device["layers"]) == layers and all(one["processors"] for one in device["layers"])
    wide = Program({"x": 3000}, (population("a", Connection("x", csr_array((3000, 3000)), 1)), readout("a", 3000)),
                   "out", 0.1, "none", 0)  # fmt: skip
    with pytest.raises(BadInput, match=r"(?s)hardware alone.*SixNodesIPv2"):
        compile_graph("akida2", wide, tmp_path / "chip", max_deviation=1)
    assert not (tmp_path / "chip").exists()
    with pytest.raises(BadInput, match=r"(?s)hardware alone.*SixNodesIPv2"):
        CHIP[2].conform(CHIP[2].lower(wide), {"x": np.zeros((1, 2, 3000))})


@akida
def test_a_profile_says_where_each_number_is_from_and_invents_none() -> None:
    artefact = CHIP[1].lower(network())
    found = {m.metric: m for m in CHIP[1].profile(artefact, counted(), CHIP[1].run(artefact, counted()))}
    assert found["cores on AKD1500"].provenance == "vendor_simulated"
    assert found["effective ACs"].provenance == "emulated"
    assert {found[m].value for m in ("energy", "power", "latency")} == {None}


def test_a_synaptic_operation_is_a_synapse_that_an_event_reaches(monkeypatch) -> None:
    monkeypatch.setattr(toolchain, "project_root", lambda: Path("/nowhere"))
    one = population("a", Connection("x", csr_array(np.array([[1.0, 1.0], [0.0, 1.0]])), 1), threshold=0.5)
    program = Program({"x": 2}, (one, readout("a", 2)), "out", 0.1, "none", 0)
    x = {"x": np.array([[[1, 3], [0, 1], [1, 0]]])}  # what the last step brings is heard by nobody
    artefact = CHIP[2].lower(program)
    found = {m.metric: m for m in CHIP[2].profile(artefact, x, CHIP[2].run(artefact, x))}
    assert found["effective MACs"].value == 2 + 1 + 1  # counts
    assert found["effective ACs"].value == 2 * 4 + 1 * 4  # spikes
    assert found["cores"].provenance == "unavailable"


def test_the_same_network_gives_the_same_bytes_and_a_change_is_noticed(tmp_path: Path) -> None:
    assert len({save_artefact(tmp_path / str(i), CHIP[2].lower(network(15, 1.7))) for i in range(2)}) == 1
    file = tmp_path / "0" / "artefact.json"
    file.write_text(file.read_text().replace('"levels": 15', '"levels": 7'))
    with pytest.raises(BadInput, match="digest"):
        load_artefact(tmp_path / "0")


def changed(**more: object) -> Program:
    first = replace(network()["a"], **more)
    return Program({"x": 30, "y": 12}, (first, readout("a", first.size)), "out", 0.1, "none", 0)


FAR = Connection("x", weights(30, 20), 3)


@pytest.mark.parametrize(
    ("version", "program", "message"),
    [
        (1, changed(decay=np.full(20, 0.9)), r"a: decay: 0\.9 .*no memory"),
        (2, changed(current_decay=np.full(20, 0.5)), r"a: current_decay: 0\.5"),
        (1, changed(incoming=(FAR,)), r"delay from x: 3 \(0: version 1 has no delays; akida2"),
        (2, changed(incoming=(replace(FAR, delay=10),)), r"delay from x: 10 \(0 \.\.\. 9"),
        (1, changed(levels=7, step=np.ones(20)), r"levels of a neuron: 7 \(1, 3, 15\)"),
        (2, changed(levels=200, step=np.ones(20)), r"200 \(1 \.\.\. 127\)"),
        (1, changed(levels=3), "levels without a step"),
        (1, changed(levels=3, step=np.linspace(1, 2, 20)), "powers of two apart"),
        (1, changed(levels=3, step=np.full(20, 1e-3)), "step: 0.001"),
        (2, changed(incoming=(*A.incoming, Connection("a", weights(20, 20), 1))), "leads back"),
        (1, replace(network(), populations=(A, B, C, replace(OUT, incoming=(
            *OUT.incoming, Connection("a", weights(20, 4)))))), r"out: connection that skips layers: a"),
        (1, replace(network(), populations=(A, replace(B, levels=3, step=np.ones(8)), C, OUT)), "a, b: levels differ"),
        (1, replace(network(), populations=(replace(A, spikes=False), B, C, OUT)), "potential that is handed on"),
        (1, replace(network(), populations=(A, B), output="a"), "end of the network: b"),
        (1, replace(network(), populations=(A, B, C, replace(OUT, bias=np.ones(4)))), "bias of a readout: 1"),
        (2, replace(network(), populations=(A, B, C, replace(OUT, incoming=(
            Connection("c", weights(10, 4), 1),)))), "delay into a readout"),
        (1, changed(incoming=(Connection("x", csr_array((90_000, 20))),)), r"inputs of a layer: 90,000 \(81,920\)"),
        (2, changed(threshold=np.full(20, 1e8)), "potential if all inputs are at their highest"),
    ],
)  # fmt: skip
def test_what_the_chip_cannot_do_is_refused(version: int, program: Program, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        CHIP[version].lower(program)


def test_everything_is_said_at_once() -> None:
    odd = changed(decay=np.full(20, 0.9), incoming=(FAR,), levels=7, step=np.ones(20))
    assert [v.what for v in CHIP[1].check(odd) if not v.warning] == ["decay", "levels of a neuron", "delay from x"]


def test_weights_that_vanish_and_thresholds_that_move_are_warned_of() -> None:
    mostly = weights(30, 20)
    mostly.data[1:] *= 1e-4
    assert any("round to zero" in v.what and v.warning for v in CHIP[1].check(changed(incoming=(
        replace(A.incoming[0], weights=mostly),))))  # fmt: skip
    assert any(
        "8 bits and a shift" in v.what and v.warning for v in CHIP[2].check(changed(threshold=np.full(20, 77.7)))
    )


@pytest.mark.parametrize(
    ("version", "x", "message"),
    [
        (1, np.full((1, 2, 30), 16), r"holds 0 \.\.\. 16|holds 16 \.\.\. 16"),
        (1, np.full((1, 2, 30), -1), "0 ... 15 is what the chip takes"),
        (2, np.full((1, 2, 30), 128), "-128 ... 127"),
        (2, np.full((1, 2, 30), 0.5), "fractions"),
        (2, np.zeros((1, 2, 31)), r"shape \[1, 2, 31\]"),
        (2, np.zeros((2, 2, 30)), "differ in recordings or steps"),
    ],
)
def test_inputs_that_the_chip_cannot_take_are_refused(version: int, x: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        CHIP[version].run(CHIP[version].lower(network()), {"x": x, "y": np.zeros((1, 2, 12))})


def test_a_third_partys_memoryless_graph_compiles_and_runs_and_a_leaky_one_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "in": nir.Input(np.array([6])),
        "w": nir.Affine(rng.integers(-7, 8, (10, 6)) * 1.0, rng.integers(-2, 3, 10) * 1.0),
        "fire": nir.Threshold(np.full(10, 0.5)),
        "v": nir.Linear(rng.integers(-7, 8, (3, 10)) * 1.0),
        "last": nir.Threshold(np.full(3, 0.5)),
        "out": nir.Output(np.array([3])),
    }
    edges = [("in", "w"), ("w", "fire"), ("fire", "v"), ("v", "last"), ("last", "out")]
    nir.write(tmp_path / "plain.nir", nir.NIRGraph(nodes, edges))
    nodes["fire"] = nir.LIF(*(np.full(10, v) for v in (0.01, 10.0, 0.0, 1.0)), v_reset=np.zeros(10))
    nir.write(tmp_path / "leaky.nir", nir.NIRGraph(nodes, edges))
    np.savez(tmp_path / "in.npz", spikes=rng.random((5, 20, 6)) < 0.3)
    how = ["--dt", "0.001", "--reset", "zero", "--reset-delay", "0"]

    def call(*arguments: object) -> dict:
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        return json.loads(result.stdout)

    for target in CHIP.values():
        name, out = target.name, tmp_path / target.name
        call("compile", "--graph", tmp_path / "plain.nir", "--target", name, *how, "--out", out, "--json")
        call("run", "--artefact", out, "--spikes", tmp_path / "in.npz", "--out", tmp_path / "out.npz", "--json")
        with np.load(tmp_path / "out.npz") as found:
            assert 0 < found["spikes"].mean() < 1
        with pytest.raises(BadInput, match=r"fire: decay: 0\.9"):
            call("compile", "--graph", tmp_path / "leaky.nir", "--target", name, *how, "--out", out)


def prototypes(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, n)
    known = {"x": rng.integers(0, 6, (3, 1, 30)), "y": rng.integers(0, 3, (3, 1, 12))}
    noise = {name: rng.integers(-1, 2, (n, 1, one.shape[2])) for name, one in known.items()}
    return {name: np.clip(one[labels] + noise[name], 0, 15) for name, one in known.items()}, labels


@akida
def test_a_last_layer_learned_at_the_edge_knows_the_classes_and_is_akidas_to_the_bit() -> None:
    inputs, labels = prototypes(120)
    rule = Rule(neurons=2, num_weights=10)
    first = learn(CHIP[1].lower(network(15, 1.7)), inputs, labels, 3, rule)
    again = learn(CHIP[1].lower(network(15, 1.7)), inputs, labels, 3, rule)
    assert all((again.arrays[key] == values).all() for key, values in first.arrays.items())
    answers = decide(CHIP[1].run(first, inputs).potential["edge"][:, 0], first)
    assert (answers == labels).mean() > 0.5  # chance is a third
    found = CHIP[1].conform(first, inputs)
    assert (found.spikes, found.potentials) == (0, 0)


def test_what_cannot_learn_at_the_edge_says_so() -> None:
    inputs, labels = prototypes(4)
    one: Artefact = CHIP[1].lower(network())
    for artefact, rule, given, message in [
        (CHIP[2].lower(network()), Rule(), labels, "version 1 only"),
        (one, Rule(layer=3), labels, r"layer 3.*1 \.\.\. 2"),
        (one, Rule(), labels[:3], "3 labels"),
    ]:
        with pytest.raises(BadInput, match=message):
            learn(artefact, inputs, given, 3, rule)


def test_the_licence_notice_is_there_and_akida_can_be_left_out() -> None:
    notice = (ROOT / "toolchains" / "akida" / "NOTICE").read_text()
    assert "proprietary" in notice and "redistribution" in notice and "AKIDA=no" in notice
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "toolchains.py", "akida"],
        env={**os.environ, "AKIDA": "no"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "akida: left out (AKIDA=no)" in done.stdout + done.stderr
