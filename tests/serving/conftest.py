"""A small network, an application of it in this process, and a really running service of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from snn_fusion.network.graph import save_graph
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model, float_model
from snn_fusion.serving.settings import Settings
from tests.serving.made import CLASSES, CODE, graph
from tests.serving.running import served

LOCAL = {"Host": "localhost"}  # without keys a service answers to this computer's own names only
NEVER = 600_000.0  # ms of waiting: nothing is shortened


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network; tests/serving/made.py has recordings for it."""
    folder = tmp_path_factory.mktemp("serving") / "graph"
    save_graph(folder, graph().network, CODE, CLASSES, {"seed": 1})
    return folder


@pytest.fixture(scope="session")
def small_model(small_graph: Path) -> Model:
    return float_model(small_graph, "small")


@pytest.fixture(scope="session")
def client(small_model: Model) -> Iterator[TestClient]:
    """The application without BentoML and sockets."""
    app = create(Settings(pressure_ms=NEVER), lambda _: small_model)
    with TestClient(app, headers=LOCAL, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="session")
def service(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running service; nothing is shortened, and nothing kept."""
    with served(small_graph, tmp_path_factory.mktemp("service"), pressure_ms=NEVER, cache=0) as url:
        yield url
