"""What can be followed of a real run of Airflow: its stages' lines, and who hears of its end."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from snn_fusion.registry.embedded_airflow import environment, program
from snn_fusion.workspace import Workspace
from tests.deploy.log_schema import problems, stored, unfit
from tests.deploy.test_log_lines import put_folder
from tests.http_server import http_server

pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """The address of a web hook that takes each message and then fails, and what it got."""
    got: list[Any] = []

    def answer(_method: str, _path: str, body: bytes) -> tuple[int, bytes]:
        got.append(json.loads(body))
        return 500, b""

    with http_server(answer) as url:
        yield f"{url}/planted-hook", got


def run(airflow: Workspace, conf: dict[str, str], **variables: str) -> subprocess.CompletedProcess[str]:
    """`import_recordings` once, with what docker/compose.yaml sets for the log."""
    settings = {"AIRFLOW__LOGGING__JSON_LOGS": "True", "SNN_FUSION_LOG": "json", "SNN_FUSION_RETRIES": "0"}
    command = [program("airflow"), "dags", "test", "import_recordings", "--conf", json.dumps(conf)]
    env = environment(airflow) | settings | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)


def newest_run(airflow: Workspace) -> str:
    """Its id, from Airflow's database."""
    with closing(sqlite3.connect(airflow.path("airflow", "airflow.db"))) as database:
        return str(database.execute("select run_id from dag_run order by id desc limit 1").fetchone()[0])


def test_stages_name_their_run_and_the_request_that_started_it(airflow: Workspace, tmp_path: Path) -> None:
    done = run(airflow, {"folder": str(put_folder(tmp_path / "lab")), "request_id": "order-22"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    events = [stored(line, "airflow-scheduler") for line in whole(done)]
    of_stage = [event for event in events if event.get("stage") == "import"]
    assert of_stage and of_stage[-1]["event"] == "done"
    for event in of_stage:
        assert (event["request_id"], event["run_id"]) == ("order-22", newest_run(airflow))
        assert (event["dag_id"], event["task_id"]) == ("import_recordings", "import_folder")
    assert len(events) > len(of_stage)
    for event in events:  # Airflow's own lines too
        assert unfit(event) == [], event
        assert problems(event | {"time": event["@timestamp"]}, strict=False) == [], event


def whole(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]


def test_people_hear_of_a_failed_run_which_fails_the_same_if_they_cannot_be_told(
    airflow: Workspace, tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    url, got = hook
    done = run(airflow, {"folder": str(tmp_path / "nowhere")}, SNN_FUSION_NOTIFY_WEBHOOK=url)
    assert done.returncode != 0
    (message,) = got
    assert message["kind"] == "failed" and message["run_id"] == newest_run(airflow)
    assert message["text"].startswith("Airflow: import_recordings failed")
    assert "nobody was told of the failed run" in done.stdout + done.stderr
    assert "planted-hook" not in done.stdout + done.stderr
