"""The backup container: a snapshot every few minutes, a whole backup a day, a restore drill when one is requested."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from snn_fusion.backup import state
from snn_fusion.backup.settings import Settings
from snn_fusion.registry.embedded_airflow import program
from snn_fusion.workspace import Workspace, write_atomic

POLL_S = 5.0
RETRY = timedelta(minutes=30)  # after a backup that failed
LIMITS_S = {"backup": 6 * 3600, "backup --quick": 3600, "drill": 4 * 3600}
IDLE_S = 120  # within which the loop comes round


def deadline_file() -> Path:
    """Holds the time (seconds since 1970) until which the schedule is healthy, for the container's health check."""
    return Path(tempfile.gettempdir(), "snn-fusion-backup.deadline")


def next_command(
    now: datetime, settings: Settings, whole: datetime | None, ok: bool, snapshot: datetime | None
) -> str | None:
    """The command that is due, if any. `whole`, `snapshot`: when the last ones ended; `ok`: how the whole one did."""
    hour, minute = map(int, settings.daily.split(":"))
    latest = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    latest -= timedelta(days=1) if latest > now else timedelta(0)
    if whole is None or (whole < latest and ok) or (not ok and now - whole >= RETRY):
        return "backup"
    newest = max(whole, snapshot) if snapshot else whole
    return "backup --quick" if now - newest >= timedelta(seconds=settings.every_s) else None


def schedule(
    ws: Workspace, settings: Settings, run: Callable[[str], None] | None = None, rounds: int | None = None
) -> None:
    """Until Ctrl-C or SIGTERM. A command that fails is in the log and in backups/state.json, and is tried again."""
    run = run or _run
    request = ws.path("backups", "drill.request")
    while rounds is None or rounds > 0:
        whole, snapshot = state.when(ws, "backup"), state.when(ws, "snapshot")
        ok = bool((state.read(ws).get("backup") or {}).get("ok"))
        command = next_command(datetime.now(UTC), settings, whole, ok, snapshot)
        if request.exists():
            _extend_deadline(LIMITS_S["drill"])
            run("backup --quick")  # none is made during the drill
            run("drill")
            request.unlink(missing_ok=True)
        elif command:
            _extend_deadline(LIMITS_S[command])
            run(command)
        _extend_deadline(IDLE_S)
        rounds = None if rounds is None else rounds - 1
        time.sleep(0 if rounds == 0 else POLL_S)


def _run(command: str) -> None:
    """In a process of its own, which gives its memory back; its output is the container's log."""
    words: Sequence[str] = [program("snn-fusion"), *command.split(), "--json"]
    with subprocess.Popen(words) as process:
        try:
            process.wait(LIMITS_S[command])
        except subprocess.TimeoutExpired:
            process.terminate()
        except BaseException:
            process.terminate()
            raise


def _extend_deadline(seconds: float) -> None:
    write_atomic(deadline_file(), f"{time.time() + seconds:.0f}\n")
