"""The whole installation of production: MLflow's server on PostgreSQL, its artefacts in a folder of their own, and a
champion that is the same after a restore.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snn_fusion.backup.drill import drill
from snn_fusion.backup.make import backup
from snn_fusion.backup.restore import Request, restore
from snn_fusion.backup.settings import Only, Settings
from snn_fusion.errors import BadInput
from snn_fusion.registry import tracking
from snn_fusion.registry.embedded_airflow import program
from snn_fusion.registry.processes import running
from snn_fusion.registry.promote import promote
from snn_fusion.workspace import Workspace
from tests.deploy.backing_up import PASSWORD, Server, free_port, install, missing, server, small_params

pytest.importorskip("psycopg2", reason="psycopg2 is not installed, without which MLflow cannot use PostgreSQL")
NEEDS = missing("restic", "pgbackrest", "postgres", "psql", "pg_isready")
pytestmark = [
    pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS)),
    pytest.mark.slow,
]


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder into which PostgreSQL's user can get."""
    made = Path(tempfile.mkdtemp(prefix="snn-backup-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def mlflow(pg: Server, artefacts: Path, port: int) -> Iterator[None]:
    store = f"postgresql+psycopg2://mlflow@127.0.0.1:{pg.port}/mlflow"
    command = [program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--serve-artifacts", "--artifacts-destination", str(artefacts)]
    env = os.environ | pg.env | {"PGUSER": "mlflow"}
    with (artefacts.parent / "mlflow.log").open("a") as log, running(command, env, log):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.3)
        yield


def test_the_champion_is_the_same_after_database_artefacts_and_workspace_are_lost(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, ws, artefacts, port = small_params(), Workspace(base / "home"), base / "artefacts", free_port()
    artefacts.mkdir()
    (base / "password").write_text(PASSWORD)
    (base / "password").chmod(0o600)
    settings = Settings(place=str(base / "place"), password=base / "password", stanza="snn-fusion", artefacts=artefacts)
    with server() as pg:
        for name, value in pg.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SNN_FUSION_HOME", str(ws.root))
        monkeypatch.setenv(tracking.URI, f"http://127.0.0.1:{port}")
        with mlflow(pg, artefacts, port):
            install(ws, params, base)
            assert backup(params, ws, settings)["champion"] == "1"
            tried = drill(params, ws, settings)
            assert (tried["champion"], tried["answers"]) == ("1", "10 recordings, the same")
            pg.ask("DROP OWNED BY mlflow CASCADE", "mlflow")
        pg.stop()
        shutil.rmtree(ws.root)
        shutil.rmtree(artefacts)
        artefacts.mkdir()
        result = restore(params, ws, settings, Request(replace=True))
        assert (result["champion"], result["decisions"]) == ("1", 1)
        assert result["answers"] == "10 recordings, as when it was backed up"
        pg.start()
        with mlflow(pg, artefacts, port):
            assert promote(params, ws)["reason"] == "version 1 is the champion"
            assert backup(params, ws, settings)["verified"]

        # The database alone: a record of promotions in the workspace that says otherwise is noticed first.
        pg.stop()
        line = ws.path("promotions.jsonl").read_text()
        ws.path("promotions.jsonl").write_text(line.replace('"promoted": true', '"promoted": false'))
        with pytest.raises(BadInput, match=r"does not fit workspace and artefacts: .*restore all, without --only"):
            restore(params, ws, settings, Request(only=Only.postgres, replace=True))
        pg.start()  # what was there is still there
