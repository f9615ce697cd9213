"""A workspace ready to search: encoded data that is learnt in seconds, a store of MLflow, a small space."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snn_fusion.config import Params, check_params
from snn_fusion.registry import tracking
from snn_fusion.search.storage import VARIABLE
from snn_fusion.workspace import Workspace
from tests.training.conftest import raw_params
from tests.training.conftest import ready as ready

SPACE = {"training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "network.joint": {"choices": [8, 12]}}


def raw_search(space: dict[str, Any] | None = None, **search: Any) -> dict[str, Any]:
    raw = raw_params(epochs=2)
    raw["search"] = {"trials": 3, "warmup_trials": 1, "warmup_epochs": 1, "max_failed_share": 0.25} | search
    raw["search"]["space"] = space or SPACE
    return raw


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Workspace(tmp_path_factory.mktemp("store"))
    tracking.connect(made)
    return tracking.database(made)


@pytest.fixture
def small() -> Params:
    return check_params(raw_search())


@pytest.fixture
def ws(ready: Workspace, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv(tracking.URI, raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    tracking.database(ready).parent.mkdir(parents=True)
    shutil.copyfile(empty_store, tracking.database(ready))
    return ready


TRIAL = """
import json, os, signal, sys
from pathlib import Path
from snn_fusion.config import check_params
from snn_fusion.search import trial
from snn_fusion.workspace import Workspace

root, slot, die_at, params = sys.argv[1:]
if die_at:
    owner = trial if die_at == "_tell" else trial.Record
    real = getattr(owner, die_at)

    def and_die(*args, **named):
        real(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, die_at, and_die)
print(json.dumps(trial.run_trial(check_params(json.loads(params)), Workspace(Path(root)), int(slot))))
"""


def start_trial(params: Params, ws: Workspace, slot: int, die_at: str = "") -> subprocess.Popen[str]:
    """A process that runs a trial; it is killed (SIGKILL) as soon as `die_at` has returned for the first time."""
    command = [sys.executable, "-c", TRIAL, str(ws.root), str(slot), die_at, params.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def kill_trial(params: Params, ws: Workspace, slot: int, die_at: str) -> None:
    process = start_trial(params, ws, slot, die_at)
    _, err = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, err
