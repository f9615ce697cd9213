"""`snn-fusion serve` as a person uses it: it starts, says where, answers, ends when asked to, and refuses in time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.errors import BadInput
from snn_fusion.registry.tracking import URI
from snn_fusion.serving.sample import as_json
from snn_fusion.serving.serve import serve
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.warm import made
from snn_fusion.workspace import Workspace
from tests.planted import plant, was_run
from tests.serving.made import CODE
from tests.serving.running import free_port, listening
from tests.serving.signing import Signer

PROGRAM = [sys.executable, "-P", "-c", "from snn_fusion.cli import main; main()", "serve"]
ENDS_S = 40


@dataclass
class Started:
    """A running command and the first line that it printed."""

    process: subprocess.Popen[str]
    said: str
    url: str
    home: Path


@pytest.fixture(scope="module")
def started(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    home, port = tmp_path_factory.mktemp("serve"), free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith("SNN_FUSION_SERVE_")}
    command = [*PROGRAM, "--model", str(small_graph), "--port", str(port)]
    plant(home / "planted")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=env | {"SNN_FUSION_HOME": str(home)}, cwd=home / "planted", **pipes)
    out = process.stdout
    assert out is not None
    try:
        yield Started(process, _first_line(out), f"http://127.0.0.1:{port}", home)
    finally:
        process.terminate()
        process.wait(ENDS_S)


def _first_line(out: IO[str]) -> str:
    return next((line.strip() for line in out if line.strip()), "")


def test_it_says_where_it_listens_once_it_is_ready_and_its_first_answer_compiles_nothing(
    started: Started, small_graph: Path
) -> None:
    assert started.said == f"serving {small_graph} as float on {started.url}"
    assert httpx.get(f"{started.url}/ready", timeout=5).json()["ready"] is True
    answer = httpx.post(f"{started.url}/v1/predict", json=as_json(made(CODE)), timeout=10).json()
    assert answer["model"]["arithmetic"] == "float"
    assert not was_run(started.home / "planted")
    assert answer["timing_ms"]["encode"] + answer["timing_ms"]["infer"] < 1000  # compiling takes seconds


def test_its_log_and_its_caches_lie_in_the_workspace(started: Started) -> None:
    log, until = started.home / "logs" / f"serve-{started.url.rpartition(':')[2]}.log", time.monotonic() + 30
    while not (lines := [line for line in log.read_text().splitlines() if line.startswith("{")]):
        assert time.monotonic() < until  # another process writes it
        time.sleep(0.1)
    assert any(json.loads(line)["event"] == "request" for line in lines)


def test_nothing_listens_but_what_it_says_and_a_replaced_process_writes_the_same_log(started: Started) -> None:
    port = int(started.url.rpartition(":")[2])
    command = psutil.Process(started.process.pid)
    assert listening(command) == {("127.0.0.1", port)}
    (parent,) = command.children()
    (worker,) = parent.children()
    worker.kill()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{started.url}/ready", timeout=5).status_code == 200:
                break
        time.sleep(0.05)
    log, lines = started.home / "logs" / f"serve-{port}.log", [{"event": ""}]
    while lines[-1]["event"] != "request" and time.monotonic() < until:  # a thread of the command writes it
        time.sleep(0.05)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["event"] == "request"
    ended = [line["code"] for line in lines if line["event"] == "the process that answers ended"]
    assert ended == [-signal.SIGKILL]
    assert listening(command) == {("127.0.0.1", port)}


def test_sigterm_ends_the_service_with_the_command(started: Started) -> None:
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(ENDS_S) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{started.url}/health", timeout=2)


def refused(ws: Workspace, host: str = "127.0.0.1", port: int = 0, **settings: str) -> BadInput:
    with pytest.raises(BadInput) as found:
        serve(ws, Settings(**settings), host, port or free_port())  # type: ignore[arg-type]
    assert not ws.path("logs").exists()  # nothing was started
    return found.value


def test_a_port_that_is_taken_is_named_with_another(workspace: Workspace, small_graph: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        error = refused(workspace, port=port, model=str(small_graph))
    assert str(port) in error.problem and "in use" in error.problem and f"--port {port + 1}" in error.remedy


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_a_host_that_others_can_reach_needs_keys(workspace: Workspace, small_graph: Path, host: str) -> None:
    error = refused(workspace, host=host, model=str(small_graph))
    assert "can be reached from outside" in error.problem and "SNN_FUSION_SERVE_KEYS" in error.remedy


def test_a_model_that_is_not_there_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URI, raising=False)
    assert "missing: this is not a whole graph" in refused(workspace, model="./nowhere").problem


def test_a_version_that_is_not_registered_is_named_and_nothing_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URI, raising=False)
    port = free_port()
    with pytest.raises(BadInput, match=r"no version or alias 'champion' .run `snn-fusion register`"):
        serve(workspace, Settings(), "127.0.0.1", port)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    here = psutil.Process().children(recursive=True)
    assert not [one for one in here if f"--port {port}" in " ".join(one.cmdline())]


def test_a_challenger_that_is_not_there_is_named(workspace: Workspace, small_graph: Path) -> None:
    error = refused(workspace, model=str(small_graph), challenger="./nowhere")
    assert error.where == "SNN_FUSION_SERVE_CHALLENGER: nowhere/graph.nir" and "missing" in error.problem


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"keys": "none.json"}, "none.json"),
        ({"keys": "KEYS", "revoked": "lost"}, "lost"),
        ({"keys": "BROKEN"}, "broken.json"),
        ({"burst": "0.5"}, "SNN_FUSION_SERVE_BURST"),
        ({"redis": "http://localhost"}, "SNN_FUSION_SERVE_REDIS"),
        ({"threads": "0"}, "SNN_FUSION_SERVE_THREADS"),
        ({"rate": "-1"}, "SNN_FUSION_SERVE_RATE"),
        ({"canary": "0.5"}, "SNN_FUSION_SERVE_CANARY"),
        ({"arithmetic": "abacus"}, "SNN_FUSION_SERVE_ARITHMETIC"),
    ],
    ids=str,
)
def test_a_setting_that_is_wrong_is_named_before_anything_starts(
    workspace: Workspace,
    small_graph: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    where: str,
) -> None:
    files = {"KEYS": str(Signer(tmp_path).make("k").keys), "BROKEN": str(tmp_path / "broken.json")}
    (tmp_path / "broken.json").write_text("{")
    for name, text in settings.items():
        monkeypatch.setenv(f"SNN_FUSION_SERVE_{name.upper()}", files.get(text, text))
    done = CliRunner().invoke(app, ["serve", "--model", str(small_graph), "--port", str(free_port())])
    assert isinstance(done.exception, BadInput) and done.exception.where.endswith(where)
    assert done.exception.problem and done.exception.remedy
    assert not workspace.path("logs").exists()


def test_a_graph_that_was_altered_is_refused(workspace: Workspace, small_graph: Path, tmp_path: Path) -> None:
    shutil.copytree(small_graph, tmp_path / "graph")
    (tmp_path / "graph" / "graph.json").write_text("{}")
    assert re.search(r"says \w{12}, but the files give", refused(workspace, model=str(tmp_path / "graph")).problem)


def test_a_chip_needs_an_artefact_of_the_same_network(workspace: Workspace, small_graph: Path) -> None:
    model = str(small_graph)
    error = refused(workspace, model=model, arithmetic="loihi2")
    assert error.problem == "nothing is compiled there" and "snn-fusion compile --target loihi2" in error.remedy
    compiled = workspace.path("compiled", "loihi2")
    compiled.mkdir(parents=True)
    (compiled / "compiled.json").write_text(json.dumps({"graph": "0" * 64}))
    assert refused(workspace, model=model, arithmetic="loihi2").problem == "is of another network"


@pytest.mark.parametrize(
    ("options", "message"), [(["--as", "abacus"], r"--as: is 'abacus' .float, loihi2"), (["--port", "0"], "")]
)
def test_options_that_mean_nothing_are_refused(workspace: Workspace, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["serve", *options])
    assert isinstance(done.exception, BadInput) or done.exit_code == 2
    assert re.search(message, str(done.exception))
