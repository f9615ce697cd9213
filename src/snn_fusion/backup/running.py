"""What is at work in a workspace, so that a restore never replaces files that a process uses."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from snn_fusion.backup.cluster import Cluster
from snn_fusion.errors import BadInput
from snn_fusion.registry.processes import started
from snn_fusion.workspace import Workspace

OURS = ("backups/.lock",)  # held by the restore itself
LOCKS = (".lock*", ".*.lock", "airflow/.retrain.lock")


def check_nothing_runs(ws: Workspace, cluster: Cluster | None) -> None:
    """Raises BadInput naming the first of what is at work: PostgreSQL, the UIs, a service, a stage."""
    if cluster:
        if cluster.is_accepting():
            raise BadInput("PostgreSQL", "accepts connections, and a restore replaces its files", "stop it first")
        pid = cluster.data / "postmaster.pid"
        if pid.exists():
            remedy = f"stop the server; if it was killed and none runs, remove {pid}"
            raise BadInput(pid, "a server uses this data directory, or was killed", remedy)
    if not ws.root.exists():
        return
    for name, process in (*_ui(ws), *_services(ws)):
        raise BadInput(name, f"is at work in {ws.root}, as process {process}", f"end it first: kill {process}")
    for lock, purpose in _locked(ws):
        raise BadInput(lock, f"`{purpose}` is at work in {ws.root}", "wait until it has ended, or end it")


def _ui(ws: Workspace) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        process = json.loads(ws.path("airflow", "ui.json").read_text())
        if started(int(process["pid"])) == process["since"]:
            yield "snn-fusion ui", int(process["pid"])


def _services(ws: Workspace) -> Iterator[tuple[str, int]]:
    """Processes that serve from this workspace."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            serves = "snn_fusion.serving.parent" in command or (
                "serve" in command[1:4] and any(Path(part).name == "snn-fusion" for part in command[:3])
            )
            if serves and process.pid != os.getpid() and _home(process) == ws.root.resolve():
                yield "snn-fusion serve", process.pid


def _home(process: psutil.Process) -> Path:
    home = process.environ().get("SNN_FUSION_HOME")
    return Path(process.cwd(), home or "workspace").resolve()


def _locked(ws: Workspace) -> Iterator[tuple[Path, str]]:
    for pattern in LOCKS:
        for path in sorted(ws.root.glob(pattern)):
            if path.suffix == ".json" or path.relative_to(ws.root).as_posix() in OURS:
                continue
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                yield path, _purpose(path)
            else:
                lock.release()


def _purpose(lock: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(lock.with_name(f"{lock.name}.json").read_text())["purpose"])
    return "another command"
