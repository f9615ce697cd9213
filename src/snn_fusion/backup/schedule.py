"""The backup container: a snapshot every few minutes, a whole backup a day, a restore drill when one is asked for."""

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

LOOK_S = 5.0
AGAIN = timedelta(minutes=30)  # after a backup that failed
LIMITS_S = {"backup": 6 * 3600, "backup --quick": 3600, "drill": 4 * 3600}
IDLE_S = 120  # in which the loop has to come round


def deadline_file() -> Path:
    """Holds until when (seconds since 1970) the schedule is well; the container's health check reads it."""
    return Path(tempfile.gettempdir(), "snn-fusion-backup.deadline")


def due(now: datetime, settings: Settings, whole: datetime | None, ok: bool, snapshot: datetime | None) -> str | None:
    """The command that is due, if any; `whole`, `snapshot`: when the last ones ended, `ok`: how the whole one did."""
    hour, minute = map(int, settings.daily.split(":"))
    latest = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    latest -= timedelta(days=1) if latest > now else timedelta(0)
    if whole is None or (whole < latest and ok) or (not ok and now - whole >= AGAIN):
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
        found = state.read(ws)
        last = found.get("backup") or {}
        command = due(
            datetime.now(UTC), settings, state.when(ws, "backup"), bool(last.get("ok")), state.when(ws, "snapshot")
        )
        if request.exists():
            _well_for(LIMITS_S["drill"])
            run("drill")
            request.unlink(missing_ok=True)
        elif command:
            _well_for(LIMITS_S[command])
            run(command)
        _well_for(IDLE_S)
        rounds = None if rounds is None else rounds - 1
        time.sleep(0 if rounds == 0 else LOOK_S)


def _run(command: str) -> None:
    """In a process of its own, whose memory goes with it; its output is the container's log."""
    words: Sequence[str] = [program("snn-fusion"), *command.split(), "--json"]
    with subprocess.Popen(words) as process:
        try:
            process.wait(LIMITS_S[command])
        except subprocess.TimeoutExpired:
            process.terminate()
        except BaseException:
            process.terminate()
            raise


def _well_for(seconds: float) -> None:
    write_atomic(deadline_file(), f"{time.time() + seconds:.0f}\n")
