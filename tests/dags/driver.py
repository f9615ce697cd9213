"""Runs inside an Airflow environment (see conftest.py): `driver.py FUNCTION JSON-ARGUMENTS`, prints one JSON line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import get_or_create_dagrun
from airflow.sdk import RetryDecision
from airflow.utils.session import create_session
from sqlalchemy import select

# Between two looks at what can run, `dag.test()` sleeps for a second.
time.sleep = lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.05))  # type: ignore[assignment, misc]
DAGS = Path(__file__).resolve().parents[2] / "dags"
# Nobody waits for minutes here; which they are, `delays` tells.
QUICK = RetryDecision.retry(timedelta(seconds=0.1))


def bag() -> DagBag:
    sys.modules.pop("snn_fusion_tasks", None)  # which reads the environment
    found = DagBag(dag_folder=DAGS)
    assert not found.import_errors, found.import_errors
    return found


def describe() -> dict[str, Any]:
    """What the DAG files hold, and what went wrong when they were read."""
    found = DagBag(dag_folder=DAGS)
    return {
        "errors": {str(file): error for file, error in found.import_errors.items()},
        "dags": {name: _describe(dag) for name, dag in found.dags.items()},
    }


def _describe(dag: Any) -> dict[str, Any]:
    return {
        "doc": dag.doc_md,
        "description": dag.description,
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "schedule": repr(dag.timetable),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {
            task.task_id: {
                "doc": task.doc_md,
                "owner": task.owner,
                "retries": task.retries,
                "stops_on_bad_input": type(task.retry_policy).__name__ == "StopOnBadInput",
                "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                "command": getattr(task, "bash_command", None),
                "downstream": sorted(task.downstream_task_ids),
                "outlets": [one.name for one in task.outlets],
            }
            for task in dag.tasks
        },
    }


def run(
    dag: str, conf: dict[str, Any], variables: dict[str, str], imports: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """One run, under these variables of the environment: its state, each task's, and the calls of the CLI.

    `imports`: what the events of the asset that started the run say, oldest first.
    """
    calls = Path(os.environ.get("CALLS", os.devnull))
    before = len(calls.read_text().splitlines())
    os.environ.update(variables)
    found = bag().dags[dag]
    for task in found.tasks:
        task.retry_delay = timedelta(seconds=0.1)
        if task.retry_policy:
            _hasten(task.retry_policy)
    with mock.patch("airflow.models.dagrun.get_or_create_dagrun", partial(_started_by, imports, get_or_create_dagrun)):
        finished = found.test(run_conf=conf)
    for name in variables:
        del os.environ[name]
    return {
        "state": finished.state,
        "tasks": {_name(ti): ti.state for ti in finished.get_task_instances()},
        "shown": {_name(ti): ti.rendered_map_index for ti in finished.get_task_instances()},
        "events": [event.extra for event in _events(finished)],
        "calls": calls.read_text().splitlines()[before:],
    }


def _started_by(imports: Sequence[dict[str, Any]], create: Callable[..., Any], **named: Any) -> Any:
    """`dag.test()` knows runs by hand only."""
    made, session = create(**named), named["session"]
    now = datetime.now(UTC)
    for age, extra in enumerate(reversed(imports)):
        asset = session.scalar(select(AssetModel).where(AssetModel.name == "snn_fusion_recordings"))
        event = AssetEvent(asset_id=asset.id, extra=extra, timestamp=now - timedelta(hours=age))
        made.consumed_asset_events.append(event)
    session.commit()
    return made


def _hasten(policy: Any) -> None:
    decide = type(policy).evaluate

    def evaluate(*arguments: Any, **named: Any) -> RetryDecision:
        decision = decide(policy, *arguments, **named)
        return QUICK if decision.action == QUICK.action else decision

    policy.evaluate = evaluate


def _events(finished: Any) -> list[Any]:
    """The updates of assets by this run."""
    with create_session() as session:
        return list(session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == finished.run_id)))


def delays(name: str, tries: list[list[int]], retries: int) -> list[float | None]:
    """Minutes until the next try, as the policy of a DAG's tasks decides after each (try, most tries)."""
    os.environ["SNN_FUSION_RETRIES"] = str(retries)
    policy = bag().dags[name].tasks[0].retry_policy
    decided = [policy.evaluate(RuntimeError("killed"), *one).retry_delay for one in tries]
    return [delay.total_seconds() / 60 if delay else None for delay in decided]


def _name(ti: Any) -> str:
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id} {ti.map_index}"


def run_all(runs: dict[str, list[Any]]) -> dict[str, Any]:
    """Several runs in one process, since Airflow takes seconds to start."""
    return {name: run(*arguments) for name, arguments in runs.items()}


if __name__ == "__main__":
    result = globals()[sys.argv[1]](*json.loads(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
