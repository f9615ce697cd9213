"""The single neuron of the NIR paper (neuromorphs/NIR, paper/01_lif), exported from Norse with a step of 0.1 ms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.targets.agreement import MOST, against_drawn, refuse_deviation
from snn_fusion.targets.compile import TARGETS, read_program
from snn_fusion.targets.loihi2.target import Loihi2
from tests.targets.programs import CASES

GAPS = [6, 15, 4, 3, 0, 2, 1, 2, 0, 1, *[0] * 10, 13, *[0] * 11, 5, 0, 14]  # silent slots of ten steps before a spike
FIRES = [460, 510, 710, 760]  # in Norse, and on the chips of the paper


@pytest.fixture
def neuron(tmp_path: Path) -> Path:
    def one(value: float) -> np.ndarray:
        return np.array([value], np.float32)

    lif = nir.LIF(tau=one(0.0025), r=one(1), v_leak=one(0), v_threshold=one(0.1))
    nodes = {"input": nir.Input(np.array([1])), "0": nir.Affine(np.ones((1, 1), np.float32), one(0)), "1": lif}
    nodes["output"] = nir.Output(np.array([1]))
    nir.write(tmp_path / "lif.nir", nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")]))
    x = np.zeros((1, 1000, 1), np.uint8)
    x[0, ::10, 0] = np.concatenate([[*[0] * gap, 1] for gap in GAPS])[:100]
    np.savez(tmp_path / "in.npz", spikes=x)
    return tmp_path / "lif.nir"


@pytest.mark.parametrize("examples", [False, True])
@pytest.mark.parametrize("name", ["loihi2", "spinnaker"])
def test_it_fires_when_it_does_in_the_paper(neuron: Path, tmp_path: Path, name: str, examples: bool) -> None:
    given = ["--dt", "0.0001", "--reset", "zero", "--reset-delay", "0"] + [
        "--examples",
        str(tmp_path / "in.npz"),
    ] * examples
    out = ["--out", str(tmp_path / "chip")]
    made = CliRunner().invoke(app, ["compile", "--graph", str(neuron), "--target", name, *given, *out, "--json"])
    assert json.loads(made.stdout)["reference"]["deviation"] == {"1": 0}
    files = ["--artefact", str(tmp_path / "chip"), "--spikes", str(tmp_path / "in.npz")]
    CliRunner().invoke(app, ["run", *files, "--out", str(tmp_path / "out.npz")], catch_exceptions=False)
    with np.load(tmp_path / "out.npz") as found:
        assert np.flatnonzero(found["spikes"]).tolist() == FIRES


def test_a_bias_that_runs_in_silence_is_found_by_the_agreement_check(neuron: Path) -> None:
    made, _ = read_program(neuron, 1e-4, "zero", 0)
    artefact = Loihi2().lower(made)
    drifting = replace(artefact, arrays={**artefact.arrays, "1.bias_mant": np.array([32], np.int32)})
    found = against_drawn(made, drifting, TARGETS["loihi2"])
    assert found["decisions"]["wrong"] > 10
    with pytest.raises(BadInput, match="1: deviation from the reference"):
        refuse_deviation("loihi2", found["deviation"], MOST)


@pytest.mark.parametrize("name", CASES)
def test_no_sum_of_synapses_on_loihi2_is_rounded_and_silence_moves_nothing(name: str) -> None:
    artefact = Loihi2().lower(CASES[name])
    for one in CASES[name]:
        for i, way in enumerate(artefact.meta["populations"][one.name]["incoming"]):
            weights = artefact.arrays[f"{one.name}.{i}.weights"] * 2.0 ** way["exponent"]
            np.testing.assert_array_equal(weights, np.rint(weights))
    ran = Loihi2().run(artefact, {"in": np.zeros((1, 200, 12), np.int8)})
    for one in CASES[name]:
        if not one.bias.any() and not any(one.bias.any() for one in CASES[name]):
            assert not ran.potential[one.name].any()
