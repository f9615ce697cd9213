"""The service itself, run here with the settings and secrets that its pods get."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.k8s_objects import K8S, ROOT, dev, pods
from tests.k8s.stage import small_graph

GRACE_S = pods(dev())["Deployment/app"]["spec"]["terminationGracePeriodSeconds"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    subprocess.run([sys.executable, K8S / "secrets" / "make.py", made], check=True, capture_output=True, cwd=ROOT)
    return made


@pytest.fixture
def pod(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process with a pod's environment, and its URL. Its model is a small one, and there is no Redis."""
    (settings,) = [
        one["data"] for one in dev() if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("app-")
    ]
    settings = {name: value.replace("/run/secrets", str(folder)) for name, value in settings.items()}
    settings["SNN_FUSION_SERVE_MODEL"] = str(small_graph(tmp_path))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SNN_FUSION_", "MLFLOW_"))}
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "snn_fusion.serving.parent", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, env=kept | settings | {"SNN_FUSION_HOME": str(tmp_path / "home")}, stdout=subprocess.DEVNULL
    )
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def status(url: str, token: str = "") -> int:
    """0 where nothing listens."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_a_pod_becomes_ready_shows_prometheus_its_metrics_and_drains(
    pod: tuple[subprocess.Popen[bytes], str], folder: Path
) -> None:
    process, url = pod
    end = time.monotonic() + 120  # as long as the startup probe
    while status(f"{url}/health") != 200:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.5)
    assert status(f"{url}/ready") == 200
    assert status(f"{url}/metrics") == 401
    assert status(f"{url}/metrics", (folder / "metrics_token").read_text().strip()) == 200
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert (status(f"{url}/ready"), status(f"{url}/health")) == (503, 200)
    assert process.wait(GRACE_S) == 0
