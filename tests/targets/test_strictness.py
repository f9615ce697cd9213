"""Without examples: usual networks compile, and every systematic fault of a compiled network is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.targets.agreement import MOST, against_drawn, refuse_deviation
from snn_fusion.targets.compile import TARGETS
from snn_fusion.targets.contract import Artefact
from snn_fusion.targets.populations import Connection, Program
from tests.targets.programs import network, population, readout

BETAS = (0.8, 0.9, 0.95, 0.99)  # 4096 times them are no whole numbers


def dense(source: int, target: int, seed: int) -> np.ndarray:
    """(target, source), three times torch's default: about a spike in ten steps."""
    return np.random.default_rng(seed).uniform(-3, 3, (target, source)) / np.sqrt(source)


def theirs(path: Path, beta: float, recurrent: bool) -> Path:
    """Two layers of snnTorch's Leaky as it exports them: tau = dt / (1 - beta), r = tau / dt."""

    def leaky(size: int) -> nir.LIF:
        tau = np.full(size, 1e-3 / (1 - beta))
        return nir.LIF(tau, tau / 1e-3, np.zeros(size), np.ones(size), v_reset=np.zeros(size))

    nodes = {
        "input": nir.Input(np.array([20])),
        "fc1": nir.Linear(dense(20, 50, 0)),
        "lif1": leaky(50),
        "fc2": nir.Linear(dense(50, 10, 1)),
        "lif2": leaky(10),
        "output": nir.Output(np.array([10])),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    if recurrent:
        nodes["back"] = nir.Linear(0.3 * dense(50, 50, 2))
        edges += [("lif1", "back"), ("back", "lif1")]
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


@pytest.mark.parametrize(
    ("chip", "beta", "recurrent"),
    [
        *(("loihi2", beta, False) for beta in BETAS),
        ("loihi2", 0.9, True),
        ("spinnaker", 0.9, False),
        ("spinnaker", 0.99, True),
    ],
)
def test_usual_decays_compile_without_examples(chip: str, beta: float, recurrent: bool, tmp_path: Path) -> None:
    graph = theirs(tmp_path / "theirs.nir", beta, recurrent)
    how = ["--target", chip, "--dt", "0.001", "--reset", "zero", "--reset-delay", "0", "--out", str(tmp_path / "chip")]
    made = CliRunner().invoke(app, ["compile", "--graph", str(graph), *how, "--json"], catch_exceptions=False)
    found = json.loads(made.stdout)["reference"]
    assert max(found["deviation"].values()) < MOST / 2
    assert found["spikes"] > 5000 and found["decisions"]["close"] > 1000


def faulty(artefact: Artefact, part: str | None = None, **fields: object) -> Artefact:
    """With other numbers in layer a: of its arrays (`part`), or of what its meta says."""
    one = artefact.meta["populations"]["a"]
    if part is not None:
        return replace(artefact, arrays={**artefact.arrays, f"a.{part}": fields["value"]})
    return replace(artefact, meta={**artefact.meta, "populations": {**artefact.meta["populations"], "a": one | fields}})


def without(artefact: Artefact, synapse: int) -> Artefact:
    """A synapse lost, in each of its groups."""
    for group in range(len(artefact.meta["populations"]["a"]["incoming"])):
        weights = artefact.arrays[f"a.{group}.weights"].copy()
        weights[synapse] = 0
        artefact = faulty(artefact, f"{group}.weights", value=weights)
    return artefact


def loihi2_faults(right: Artefact) -> dict[str, Artefact]:
    one = right.meta["populations"]["a"]
    decay = 1 - one["dv"] / 4096
    return {
        "a bias of half a unit in silence": faulty(right, "bias_mant", value=np.full(one["size"], 32, np.int32)),
        "a threshold 1 % high": faulty(right, vth=round(1.01 * one["vth"])),
        "a threshold 1 % low": faulty(right, vth=round(0.99 * one["vth"])),
        "a decay 1 % low": faulty(right, dv=round((1 - 0.99 * decay) * 4096)),
        "a time constant 5 % long": faulty(right, dv=round((1 - decay) / 1.05 * 4096)),
        "a synapse lost": without(right, 7),
        "the second group lost": faulty(right, "1.weights", value=0 * right.arrays["a.1.weights"]),
    }


def spinnaker_faults(right: Artefact) -> dict[str, Artefact]:
    threshold, decay = right.arrays["a.threshold"], right.arrays["a.decay"]
    return {
        "a threshold 1 % high": faulty(right, "threshold", value=np.rint(threshold * 1.01).astype(np.int32)),
        "a threshold 1 % low": faulty(right, "threshold", value=np.rint(threshold * 0.99).astype(np.int32)),
        "a decay 1 % low": faulty(right, "decay", value=np.rint(decay * 0.99).astype(np.int32)),
        "a synapse lost": without(right, 7),
    }


def usual(beta: float) -> Program:
    first = population("a", Connection("in", csr_array(dense(12, 40, 0).T)), decay=beta)
    return network(first, readout("a", 40, decay=beta))


@pytest.mark.parametrize(("chip", "faults"), [("loihi2", loihi2_faults), ("spinnaker", spinnaker_faults)])
def test_every_systematic_fault_is_found_without_examples(chip: str, faults) -> None:
    program = usual(0.95)
    right = TARGETS[chip].lower(program)
    found = against_drawn(program, right, TARGETS[chip])
    assert found["decisions"]["wrong"] == 0 and max(found["deviation"].values()) < MOST / 10
    for fault, artefact in faults(right).items():
        found = against_drawn(program, artefact, TARGETS[chip])
        with pytest.raises(BadInput, match="a: deviation from the reference"):
            refuse_deviation(chip, found["deviation"], MOST, found["carried"])
            pytest.fail(fault)
        assert found["deviation"]["out"] < MOST, "a fault is blamed on the layer that has it"
