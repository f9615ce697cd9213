"""The core of the stack on a real Docker engine, with a champion; skipped where there is no engine."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from snn_fusion.config import Params
from snn_fusion.deploy import engine, images
from snn_fusion.deploy.engine import Engine
from snn_fusion.errors import BadInput
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.serving.tokens import Role, issue
from snn_fusion.workspace import Workspace
from tests.registry.conftest import params, put_data, put_evaluation, put_network, takes

__all__ = ["params", "takes"]  # fixtures
PROJECT = "snn-fusion-test"
SUBNET = "172.31.241"
CLI = Path(sys.executable).parent / "snn-fusion"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The images take minutes to build: `make test` leaves these tests out, `make test-deploy` runs them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def docker() -> Engine:
    try:
        found = engine.find()
    except BadInput as error:
        pytest.skip(f"{error}")
    base = os.environ.get(images.BASE, "debian:bookworm-slim")
    if not found.has_image(base) and not os.environ.get(images.TAG):
        pytest.skip(f"no image {base}, and none can be pulled; scripts/docker_engine.sh makes it")
    return found


@dataclass(frozen=True)
class Running:
    """A stack that was started with `up`."""

    docker: Engine
    state: Path
    http_port: int
    https_port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SNN_FUSION_STATE": str(self.state), "SNN_FUSION_PROJECT": PROJECT}

    def secret(self, name: str) -> str:
        return (self.state / "secrets" / name).read_text().strip()

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        ports = ["--http-port", str(self.http_port), "--https-port", str(self.https_port)]
        command = [str(CLI), "up", "--profile", "none", "--bind", "127.0.0.1", "--subnet", SUBNET, *ports, "--json"]
        return subprocess.run([*command, *options], env=self.environment, capture_output=True, text=True)

    def client(self, role: Role | None = None) -> httpx.Client:
        """Over TLS, trusting the stack's own certificate; with a token of `role`."""
        trust = ssl.create_default_context(cafile=str(self.state / "secrets" / "tls.crt"))
        headers = {}
        if role:
            made = issue(self.state / "secrets" / "stack.private.json", "test", role, 1, "snn-fusion", "snn-fusion")
            headers["Authorization"] = f"Bearer {made.token}"
        return httpx.Client(base_url=self.url, verify=trust, headers=headers, timeout=30)

    def containers(self) -> list[dict[str, Any]]:
        """What the engine says of each, `docker inspect`."""
        names = self.docker.run("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        found: list[dict[str, Any]] = json.loads(self.docker.run("inspect", *names))
        return found

    def named(self, service: str) -> str:
        return f"{PROJECT}-{service}-1"


@pytest.fixture(scope="session")
def stack(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The core, started from nothing, its data deleted at the end."""
    ports = []
    for _ in range(2):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    running = Running(docker, tmp_path_factory.mktemp("stack"), *ports)
    try:
        done = running.up()
        assert done.returncode == 0, done.stderr[-3000:]
        yield running
    finally:
        subprocess.run([str(CLI), "down", "--volumes"], env=running.environment, capture_output=True)


@pytest.fixture(scope="session")
def registry(
    stack: Running, params: Params, takes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    """A workspace on this host that registers in the stack's MLflow, through nginx."""
    ws = Workspace(tmp_path_factory.mktemp("workspace"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(ws.root))
        patch.setenv("SNN_FUSION_USER", "ada")
        patch.setenv("MLFLOW_TRACKING_URI", f"{stack.url}/mlflow")
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", stack.secret("admin_password"))
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(stack.state / "secrets" / "tls.crt"))
        put_data(ws, takes)
        yield ws


def put_champion(ws: Workspace, params: Params, number: int) -> str:
    """Register a network that is better than those with smaller numbers, and promote it; its version."""
    put_network(ws, params, seed=number)
    put_evaluation(ws, {"n3": 200 - 20 * number})
    path = ws.path("evaluated", "evaluation.json")
    by_step = {"accuracy_by_step": {"fused": [0.5] * params.encoding.steps}}
    path.write_text(json.dumps(json.loads(path.read_text()) | by_step))
    register(params, ws)
    result = promote(params, ws)
    assert result["promoted"]
    return str(result["version"])
