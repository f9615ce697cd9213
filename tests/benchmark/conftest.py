"""A small untrained network and small synthetic recordings: what is measured must not depend on how good it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snn_fusion.config import Params, load_params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.manifest import Row, write_manifest
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import Graph, initial_generator, load_graph, save_graph
from snn_fusion.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
DIGITS = tuple("0123456789")
HISTORY = """epoch,loss,accuracy,val_loss,val_accuracy_fused,val_accuracy_audio,rate_audio,rate_joint
0,2.1,0.3,2.0,0.5,0.4,0.11,0.09
1,1.2,0.6,1.4,0.8,,0.12,0.10
"""
MakeGraph = Callable[..., Path]


def small(params: Params) -> Params:
    """Ten long steps and few neurons."""
    encoding = params.encoding.model_copy(update={"steps": 10, "step_ms": 100.0, "taps": [0, 2]})
    network = params.network.model_copy(update={"branch": dict.fromkeys(SENSES, 12), "joint": 9})
    return params.model_copy(update={"encoding": encoding, "network": network})


@pytest.fixture(scope="session")
def make_graph(tmp_path_factory: pytest.TempPathFactory) -> MakeGraph:
    """Writes a graph of random weights and returns its folder."""
    params = small(load_params(ROOT / "params.yaml"))

    def make(senses: Sequence[Sense] = SENSES, classes: Sequence[str] = DIGITS) -> Path:
        sizes = {sense: inputs(params.encoding, sense) for sense in senses}
        network = FusionNetwork(sizes, len(classes), params.network, generator=initial_generator(0))
        with torch.no_grad():
            for weights in (*network.input.values(), *network.joint.values()):
                weights *= 4  # or hardly a neuron fires
        folder = tmp_path_factory.mktemp("graph")
        save_graph(folder, network, params.encoding, classes, {"commit": "none"})
        return folder

    return make


@pytest.fixture(scope="session")
def graph_folder(make_graph: MakeGraph) -> Path:
    return make_graph()


@pytest.fixture
def graph(graph_folder: Path) -> Graph:
    return load_graph(graph_folder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 recordings of three senses with a recordings.csv; leave its files as they are."""
    made = tmp_path_factory.mktemp("data") / "take"
    generate(made, seed=0, recordings_per_label=2)
    return made


@pytest.fixture(scope="session")
def rows(folder: Path) -> list[Row]:
    found, damaged = read_folder(folder)
    assert len(found) == 20 and not damaged
    return found


@pytest.fixture(scope="session")
def trained_workspace(
    tmp_path_factory: pytest.TempPathFactory, graph_folder: Path, folder: Path, rows: list[Row]
) -> Workspace:
    """A workspace as the stages before `evaluate` leave it. Tests add evaluated/ and change nothing else."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))

    def recordings(out: Path) -> dict[str, object]:
        shutil.copytree(folder, out / "synthetic")
        return {}

    def validated(out: Path) -> dict[str, object]:
        here = [
            replace(
                row,
                source="synthetic",
                senses={s: replace(ref, path=f"synthetic/{ref.path}") for s, ref in row.senses.items()},
            )
            for row in rows
        ]
        for name in ("recordings", "joined"):
            write_manifest(out / f"{name}.parquet", here)
        return {}

    def trained(out: Path) -> dict[str, object]:
        shutil.copytree(graph_folder, out / "graph")
        (out / "history.csv").write_text(HISTORY)
        return {}

    for stage, work in (("recordings", recordings), ("validated", validated), ("trained", trained)):
        workspace.build(stage, {"made": "for a test"}, work)
    return workspace
