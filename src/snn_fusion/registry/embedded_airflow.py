"""The Airflow that lives in the workspace: SQLite, this checkout's DAGs, nothing shared with another Airflow."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.place import settle_airflow
from snn_fusion.workspace import PACKAGE, Workspace, disk_errors, print_waiting, write_atomic

CHECKOUT = PACKAGE.parents[1]
PASSED_ON = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__SECRETS__")


def program(name: str) -> str:
    """A command of the environment that this code runs in, activated or not."""
    return str(Path(sys.executable).parent / name)


def environment(ws: Workspace, database: Path | None = None) -> dict[str, str]:
    """Environment variables for Airflow in the workspace; settings meant for another Airflow are left out.

    Connections, variables and secrets backends are passed on: those are of the user, not of an Airflow.
    Raises BadInput where the package is installed without its checkout, which holds the DAGs.
    """
    home, dags = ws.path("airflow"), CHECKOUT / "dags"
    if not dags.is_dir():
        raise BadInput(dags, "no such folder", "clone the project and run this from the clone's .venv")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_") or k.startswith(PASSED_ON)}
    return {"SNN_FUSION_CLI": program("snn-fusion"), **inherited} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Each run has at most two tasks at work, and the pool room for all DAGs: a search does not block a retraining.
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "2",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database or home / 'airflow.db'}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SNN_FUSION_HOME": str(ws.root),
        "PYTHONSAFEPATH": "1",  # as `processes.ALONE`, for whatever these start in turn
    }


def migrate(ws: Workspace) -> None:
    """Make or update Airflow's database, if need be; the file is replaced whole.

    Raises SnnFusionError with Airflow's own output if that fails.
    """
    home, installed = ws.path("airflow"), version("apache-airflow")
    database, stamp, new = home / "airflow.db", home / "airflow.db.version", home / "airflow.db.new"
    with disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".migrate.lock"), disk_errors(home):
        settle_airflow(home)
        if database.exists() and stamp.exists() and stamp.read_text() == installed:
            return
        print_waiting("preparing Airflow's database (only this once)")
        for leftover in home.glob(new.name + "*"):
            leftover.unlink()
        if database.exists():
            _copy(database, new)
        done = subprocess.run(
            [program("airflow"), "db", "migrate"],
            env=environment(ws, database=new),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SnnFusionError(f"{home}: airflow db migrate failed:\n{done.stdout[-4000:]}")
        _copy(new, final := new.with_suffix(".whole"))
        final.replace(database)
        new.unlink()
        write_atomic(stamp, installed)


def _copy(source: Path, target: Path) -> None:
    """Copy a SQLite database with what is still in its write-ahead log, into one file."""
    target.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as copy:
        old.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
