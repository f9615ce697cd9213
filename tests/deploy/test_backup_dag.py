"""The DAG that rehearses a restore: scheduled, documented, one call of the command line that ends it red or green."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snn_fusion.registry.embedded_airflow import migrate
from snn_fusion.workspace import Workspace
from tests.dags.conftest import STAND_IN, run_driver

pytestmark = pytest.mark.xdist_group("airflow")  # one worker: Airflow takes seconds to start


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("home"))
    migrate(made)
    return made


def test_the_drill_is_scheduled_documented_limited_and_one_call_of_the_command(ws: Workspace) -> None:
    dag = run_driver(ws, "describe")["dags"]["rehearse_restore"]
    assert "CronTriggerTimetable" in dag["schedule"]
    assert dag["doc"] and dag["description"] and dag["catchup"] is False and dag["max_active_runs"] == 1
    (task,) = dag["tasks"].values()
    assert task["doc"] and task["timeout"] and task["stops_on_bad_input"]
    assert task["command"].endswith('drill --params="$PARAMS_FILE" --json') and "{{" not in task["command"]


def test_a_failed_drill_fails_the_run_and_without_backups_it_is_skipped(ws: Workspace, tmp_path: Path) -> None:
    program, calls = tmp_path / "stand-in", tmp_path / "calls"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    calls.touch()
    runs: dict[str, list[Any]] = {
        "good": ["rehearse_restore", {}, {"SNN_FUSION_BACKUP_PLACE": "/backups"}],
        "by the container": ["rehearse_restore", {}, {"SNN_FUSION_BACKUP_BY": "container"}],
        "failed": ["rehearse_restore", {}, {"SNN_FUSION_BACKUP_PLACE": "/backups", "FAIL_AT": "drill"}],
        "no backups": ["rehearse_restore", {}, {}],
    }
    ran = run_driver(ws, "run_all", runs, SNN_FUSION_CLI=str(program), CALLS=str(calls))
    assert {name: one["state"] for name, one in ran.items()} == {
        "good": "success",
        "by the container": "success",
        "failed": "failed",
        "no backups": "success",
    }
    assert ran["no backups"]["calls"] == [] and ran["no backups"]["tasks"]["drill"] == "skipped"
    assert ran["good"]["calls"] == ["drill --params=params.yaml --json"]
