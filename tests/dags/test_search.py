"""The DAG `search` with the real command: to a best trial, and red where every training fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from snn_fusion.config import Params, check_params, load_params
from snn_fusion.workspace import Workspace
from tests.dags.conftest import run_driver
from tests.search.conftest import raw_search
from tests.training.conftest import ready as ready

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("airflow")]


@pytest.fixture
def small() -> Params:
    return check_params(raw_search())


def test_dag_finds_a_best_trial_and_is_red_where_all_trainings_fail(
    ready: Workspace, migrated: Path, tmp_path: Path
) -> None:
    shutil.copytree(migrated, ready.path("airflow"))
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(raw_search()))
    bad.write_text(yaml.safe_dump(raw_search({"training.learning_rate": {"low": 1e29, "high": 1e30}})))
    confs = {file.stem: {"params_file": str(file), "trials": n} for file, n in ((good, 2), (bad, 1))}
    runs = {name: run_driver(ready, "run", "search", conf, {}) for name, conf in confs.items()}

    assert runs["good"]["state"] == "success"
    assert runs["good"]["tasks"] == dict.fromkeys(["plan", "trial 0", "trial 1", "best", "gate"], "success")
    assert load_params(ready.path("search", "best.yaml")).network.joint in (8, 12)
    assert runs["bad"]["state"] == "failed"
    assert runs["bad"]["tasks"] == {"plan": "success", "trial 0": "success", "best": "failed", "gate": "failed"}
    assert not ready.path("trained").exists()
