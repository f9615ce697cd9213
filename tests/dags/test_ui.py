"""`snn-fusion ui`: both UIs answer on this machine only, behind a password, and leave nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from snn_fusion.workspace import Workspace
from tests.planted import plant, was_run

pytestmark = pytest.mark.xdist_group("airflow")
UI = [str(Path(sys.executable).parent / "snn-fusion"), "ui"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_taken_port_is_named_with_a_remedy(workspace: Workspace) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run([*UI, "--airflow-port", str(port)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"--airflow-port: port {port} cannot be used" in done.stderr
    assert "snn-fusion ui --airflow-port" in done.stderr
    assert not workspace.root.exists()


def test_uis_listen_on_loopback_only_want_a_password_and_run_nothing_of_the_folder(
    airflow: Workspace, tmp_path: Path
) -> None:
    plant(planted := tmp_path / "planted")
    ports = {"Airflow": free_port(), "MLflow": free_port()}
    options = ["--airflow-port", str(ports["Airflow"]), "--mlflow-port", str(ports["MLflow"])]
    run = subprocess.Popen([*UI, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=planted)
    assert run.stdout
    said = ""
    try:
        for line in run.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        assert not was_run(planted)
        family = psutil.Process(run.pid).children(recursive=True)
        assert len(family) >= 5, said
        listening = {c.laddr for one in family for c in one.net_connections() if c.status == psutil.CONN_LISTEN}
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert set(ports.values()) <= {address.port for address in listening}
        check_login(airflow, f"http://127.0.0.1:{ports['Airflow']}", said)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['MLflow']}/health", timeout=10) as answer:
            assert answer.status == 200
    finally:
        run.send_signal(signal.SIGTERM)
        rest, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said + rest
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def check_login(ws: Workspace, url: str, said: str) -> None:
    file = ws.path("airflow", "passwords.json")
    password = json.loads(file.read_text())["admin"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password not in said and str(file) in said  # this output is a pipe, not a terminal
    logs = "".join(log.read_text(errors="replace") for log in ws.path("logs").glob("ui-*.log"))
    assert password not in logs
    for given, status in ((password, 201), ("wrong", 401)):
        body = json.dumps({"username": "admin", "password": given}).encode()
        request = urllib.request.Request(f"{url}/auth/token", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.status == status
        except urllib.error.HTTPError as refused:
            assert refused.code == status
