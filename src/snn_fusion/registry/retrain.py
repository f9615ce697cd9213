"""Run the DAG once from the terminal: what `make demo` does."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from snn_fusion import log_lines
from snn_fusion.config import Params
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.dag_log import DagLog
from snn_fusion.registry.dag_progress import show_failure, watching
from snn_fusion.registry.embedded_airflow import environment, migrate, program
from snn_fusion.registry.log_files import new_run_log, prune
from snn_fusion.registry.outcome import outcome
from snn_fusion.registry.processes import running
from snn_fusion.workspace import Workspace, disk_errors, print_waiting, project_root


class StageFailed(SnnFusionError):
    """A stage of the DAG failed; the exit code is the stage's own (2: bad input or configuration)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def retrain(params: Params, ws: Workspace, params_file: Path | None = None, speakers: bool = True) -> dict[str, Any]:
    """Run `dags/retrain.py` once with the workspace's own Airflow, showing its progress on stderr.

    `params` is the content of `params_file`: checked before anything starts, and read again by each stage. Without
    `speakers` none is left out in turn. Returns what came out (see `outcome`).
    Raises StageFailed if a stage failed, SnnFusionError if Airflow itself did.
    """
    file = (params_file or project_root() / "params.yaml").resolve()
    with _alone(ws):
        migrate(ws)
        prune(ws)
        with disk_errors(ws.path("logs")):
            log_file = new_run_log(ws.path("logs"), f"retrain-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        started, log = time.monotonic(), DagLog()
        exit_code = _run_dag(ws, {"params_file": str(file), "speakers": speakers}, log, log_file)
    if exit_code or any(stage.state not in ("done", "skipped") for stage in log.stages.values()):
        _fail(log, log_file)
    return outcome(ws, log, seconds=time.monotonic() - started, log_file=log_file)


def _run_dag(ws: Workspace, conf: dict[str, Any], log: DagLog, log_file: Path) -> int:
    """Follow `airflow dags test` to its end, copying all it prints to `log_file`; returns its exit code."""
    # A failure is shown at once: whoever waits at a terminal runs it again when the cause is mended.
    env = environment(ws) | {
        "AIRFLOW__LOGGING__JSON_LOGS": "True",
        "SNN_FUSION_RETRIES": os.environ.get("SNN_FUSION_RETRIES", "0"),
        "COLUMNS": "110",
        log_lines.VARIABLE: "",  # its stages print for the person at the terminal
    }
    command = [program("airflow"), "dags", "test", "retrain", "--conf", json.dumps(conf)]
    with disk_errors(log_file):
        copy = log_file.open("w")
    with copy, running(command, env) as process, watching(log) as show:
        for line in process.stdout or ():
            copy.write(line)
            copy.flush()
            show(log.feed(line.rstrip("\n")))
        log.close()
        show(None)
        return process.wait()


@contextlib.contextmanager
def _alone(ws: Workspace) -> Iterator[None]:
    """One run of the DAG a workspace, as `max_active_runs` has it under the scheduler."""
    with disk_errors(ws.root):
        ws.path("airflow").mkdir(parents=True, exist_ok=True)
    lock = FileLock(ws.path("airflow", ".retrain.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print_waiting(f"waiting: another retrain is at work in {ws.root}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fail(log: DagLog, log_file: Path) -> None:
    stage = log.failed
    if stage is None:
        tail = "\n".join(log.other)
        raise SnnFusionError(f"Airflow failed outside of the stages; its log: {log_file}\n{tail}")
    show_failure(stage, log_file)
    code = 2 if stage.exit_code == 2 else 1
    raise StageFailed(f"stage {stage.name} failed; mend the cause and run it again: finished stages are kept", code)
