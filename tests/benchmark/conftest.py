"""A small untrained network and small synthetic recordings: what is measured must not depend on how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from snn_fusion.config import Params, load_params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import Graph, initial_generator, load_graph, save_graph

ROOT = Path(__file__).resolve().parents[2]
DIGITS = tuple("0123456789")
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
