"""An MLflow server on a restored PostgreSQL and restored artefacts, on the loopback, while they are checked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from snn_fusion.backup.tools import Damaged
from snn_fusion.registry.embedded_airflow import program
from snn_fusion.registry.processes import running

DATABASE = "mlflow"  # and its role's name
START_S = 120.0


@contextlib.contextmanager
def registry_server(cluster: Path, artefacts: Path) -> Iterator[str]:
    """The server's address; `cluster` is the folder of PostgreSQL's socket. Raises Damaged if it does not start, for
    instance because the database is not MLflow's or of another version of it.
    """
    artefacts.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = f"postgresql+psycopg2://{DATABASE}@/{DATABASE}?host={cluster}&port=5432"
    command = [
        *(program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store, "--serve-artifacts", "--artifacts-destination", str(artefacts)),
    ]
    log = cluster / "mlflow.log"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("w") as output, running(command, _environment() | quiet, output) as process:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield url


def _environment() -> dict[str, str]:
    """This process's, without what names another registry or another PostgreSQL."""
    omitted = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PGHOST", "PGPORT", "PGUSER", "PGPASSFILE", "PGDATABASE")
    return {name: value for name, value in os.environ.items() if name not in omitted}


def _wait(url: str, process: subprocess.Popen[str], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
            return
        time.sleep(0.2)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise Damaged("MLflow does not start on the restored database: " + "; ".join(lines[-2:])[:500])
