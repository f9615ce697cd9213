"""Logs that stay readable and bounded: rotated while they are written, the oldest removed."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from snn_fusion.workspace import Workspace, disk_errors, remove_tree

MAX_BYTES, KEPT = 5_000_000, 4  # of a log that is rotated: NAME, then NAME.1 to NAME.4
RUNS = 100  # logs of `retrain` on the terminal, and of each DAG's runs
DAYS = 14  # of Airflow's own days of logs


class RotatingLog:
    """A log that lines are appended to, from any thread."""

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=KEPT, errors="replace")

    def write(self, line: str) -> None:
        self._handler.handle(logging.LogRecord("", logging.INFO, "", 0, line.rstrip("\n"), None, None))

    def close(self) -> None:
        self._handler.close()


def new_run_log(folder: Path, stem: str) -> Path:
    """A file `STEM.jsonl` that was not there, made empty; with a number after STEM if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(10_000):
        path = folder / (f"{stem}-{n}.jsonl" if n else f"{stem}.jsonl")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(folder / stem)


def prune(ws: Workspace) -> None:
    """Remove the oldest logs of runs on the terminal and of Airflow."""
    with disk_errors(ws.root):
        _keep_newest(ws.path("logs").glob("retrain-*.jsonl"), RUNS)
        logs = ws.path("airflow", "logs")
        for dag in logs.glob("dag_id=*"):
            _keep_newest(dag.glob("run_id=*"), RUNS)
        oldest = time.time() - DAYS * 86_400
        for day in logs.glob("*/*"):  # dag_processor/2026-01-31/, scheduler/2026-01-31/
            if re.fullmatch(r"\d{4}-\d\d-\d\d", day.name) and not day.is_symlink() and day.stat().st_mtime < oldest:
                remove_tree(day)


def _keep_newest(paths: Iterable[Path], most: int) -> None:
    ordered = sorted(paths, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)
    for path in ordered[most:]:
        remove_tree(path)
