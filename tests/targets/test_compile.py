"""`compile` and `run` as a user calls them: a third party's file in, spikes out; every bad input is named."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.targets.compile import read_program
from snn_fusion.targets.reference import simulate

SEMANTICS = ["--dt", "0.001", "--reset", "zero", "--reset-delay", "0"]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A recurrent network of somebody else's."""
    rng = np.random.default_rng(0)
    n = 10
    lif = nir.LIF(*(np.full(n, v) for v in (0.01, 10.0, 0.0, 1.0)), v_reset=np.zeros(n))
    nodes = {
        "in": nir.Input(np.array([6])),
        "w": nir.Linear(rng.standard_normal((n, 6))),
        "hidden": lif,
        "back": nir.Linear(0.2 * rng.standard_normal((n, n))),
        "v": nir.Linear(rng.standard_normal((3, n))),
        "read": nir.LI(np.full(3, 0.02), np.full(3, 20.0), np.zeros(3)),
        "out": nir.Output(np.array([3])),
    }
    edges = [("in", "w"), ("w", "hidden"), ("hidden", "back"), ("back", "hidden")]
    edges += [("hidden", "v"), ("v", "read"), ("read", "out")]
    path = tmp_path / "theirs.nir"
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


def call(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_third_partys_file_compiles_and_runs_and_every_layer_can_be_looked_at(graph: Path, tmp_path: Path) -> None:
    made = call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "chip", "--json")
    assert len(made["digest"]) == 64
    x = (np.random.default_rng(1).random((5, 20, 6)) < 0.3).astype(np.uint8)
    np.savez(tmp_path / "in.npz", spikes=x)
    files = ["--artefact", tmp_path / "chip", "--spikes", tmp_path / "in.npz", "--out", tmp_path / "out.npz"]
    call("run", *files, "--record", "all", "--json")
    with np.load(tmp_path / "out.npz") as found:
        assert found["potential"].shape == found["spikes"].shape == (5, 20, 3)
        assert found["hidden.spikes"].shape == (5, 20, 10)
        assert found["hidden.spikes"].sum() > 20
        np.testing.assert_array_equal(found["read.potential"], found["potential"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:2000]), "not a readable NIR file"),
        (lambda p: p.write_text("hello"), "not a readable NIR file"),
        (lambda p: h5py.File(p, "a").__setitem__("node/x", h5py.ExternalLink("/etc/passwd", "/")), "is a link"),
        (lambda p: h5py.File(p, "a").create_dataset("huge", (10**12,), "f4", chunks=True), r"declares shape \[1000000"),
        (
            lambda p: h5py.File(p, "a").__setitem__("node/again", h5py.File(p, "a")["/"]),
            "is a second name of a group",
        ),
        (lambda p: p.unlink(), "there is no such file"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(graph: Path, tmp_path: Path, damage, message: str) -> None:
    made = damage(graph)
    for one in (made, getattr(made, "file", None)):
        if hasattr(one, "close"):
            one.close()
    with pytest.raises(BadInput, match=message):
        call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "chip")
    assert not (tmp_path / "chip").exists()


@pytest.mark.parametrize("shape", [(1,), ()])
def test_parameters_given_once_in_a_file_are_those_of_every_neuron(graph: Path, tmp_path: Path, shape) -> None:
    wanted = call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "all", "--json")
    with h5py.File(graph, "a") as file:
        hidden = file["node/nodes/hidden"]
        for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            value = hidden[name][0]
            del hidden[name]
            hidden[name] = np.full(shape, value)
    once = call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "once", "--json")
    assert once["digest"] == wanted["digest"]


@pytest.mark.parametrize("padding", [0, 1, (0, 1), "same", "valid"])
def test_a_convolution_in_a_file_pads_as_torch_does(tmp_path: Path, padding) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((3, 2, 3, 3)), rng.standard_normal(3)
    conv = nir.Conv2d((5, 6), weight, 1, padding, 1, 1, bias)
    numbers = torch.from_numpy((rng.random((4, 2, 5, 6)) < 0.4).astype(float))
    wanted = torch.nn.functional.conv2d(numbers, *map(torch.from_numpy, (weight, bias)), padding=padding)
    size = np.array(wanted.shape[1:])
    nodes = {"in": nir.Input(np.array([2, 5, 6])), "conv": conv, "out": nir.Output(size)}
    nir.write(tmp_path / "conv.nir", nir.NIRGraph(nodes, [("in", "conv"), ("conv", "out")], type_check=False))
    made, _ = read_program(tmp_path / "conv.nir", 0.001, "zero", 0)
    found = simulate(made, {"in": numbers.reshape(4, 1, -1).numpy()}).potential["out"]
    np.testing.assert_allclose(found[:, 0], wanted.reshape(4, -1).numpy(), atol=1e-9)


def test_complex_weights_are_refused(graph: Path, tmp_path: Path) -> None:
    with h5py.File(graph, "a") as file:
        weight = file["node/nodes/w/weight"][:].astype(complex)
        del file["node/nodes/w/weight"]
        file["node/nodes/w/weight"] = weight
    with pytest.raises(BadInput, match=r"w.weight: holds complex128 .real numbers"):
        call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "chip")


def test_a_place_that_cannot_be_written_to_is_named(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match=r"--out .*file: cannot be written"):
        call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_nan_is_refused_with_its_place(graph: Path, tmp_path: Path) -> None:
    with h5py.File(graph, "a") as file:
        file["node/nodes/w/weight"][0, 0] = np.nan
    with pytest.raises(BadInput, match=r"w.weight: 1 values are NaN"):
        call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "chip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "loihi2"], "does not say --dt, --reset, --reset-delay"),
        (["--target", "loihi9", *SEMANTICS], "there are: loihi2"),
        (["--target", "loihi2", *SEMANTICS[:3], "often", *SEMANTICS[4:]], "zero, subtract or none"),
        (["--target", "loihi2", "--dt", "-1", *SEMANTICS[2:]], "is not a step"),
        (["--target", "loihi2", "--dt", "0.1", *SEMANTICS[2:]], "decays lie between 0 and 1"),
        (["--target", "loihi2", *SEMANTICS[:3], "subtract", *SEMANTICS[4:]], "reset: subtract"),
    ],
)
def test_what_is_not_said_or_cannot_be_is_refused(graph: Path, tmp_path: Path, arguments, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call("compile", "--graph", graph, *arguments, "--out", tmp_path / "chip")
    assert not (tmp_path / "chip").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"events": np.zeros((1, 2, 6))}, "has no array `spikes`"),
        ({"spikes": np.zeros((1, 2, 7))}, r"has 7 channels, not 6"),
        ({"spikes": np.zeros((2, 6))}, "give numbers"),
        ({"spikes": np.full((1, 2, 6), np.nan)}, "NaN"),
        ({"spikes": np.full((1, 2, 6), 0.5)}, "fractions"),
    ],
)
def test_spikes_that_do_not_fit_are_refused(graph: Path, tmp_path: Path, arrays: dict, message: str) -> None:
    call("compile", "--graph", graph, "--target", "loihi2", *SEMANTICS, "--out", tmp_path / "chip", "--json")
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        call("run", "--artefact", tmp_path / "chip", "--spikes", tmp_path / "in.npz", "--out", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
