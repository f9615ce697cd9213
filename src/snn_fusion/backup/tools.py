"""The external programs: run with a time limit, and ended when this process ends."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import nearest_existing, print_waiting

TERMINATE_S = 20.0  # that a program gets to remove its locks before it is killed
PACKAGES = {"restic": "restic", "pgbackrest": "pgbackrest", "psql": "postgresql-client-15"}
SPARE = 16 << 20  # bytes that stay free


class Damaged(SnnFusionError):
    """A backup cannot be read back whole. `reached`: the position in PostgreSQL's log up to which it could be read."""

    def __init__(self, message: str, reached: str | None = None) -> None:
        self.reached = reached
        super().__init__(message)


@dataclass(frozen=True)
class Completed:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Its error message, on one line. pgBackRest writes it to its standard output."""
        text = self.err if self.err.strip() else self.out
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "; ".join(lines[-3:])[:600] or f"exit code {self.code}"


@dataclass(frozen=True)
class User:
    """The user that a program runs as."""

    uid: int
    gid: int

    def options(self) -> dict[str, Any]:
        """For Popen; empty where this process cannot change its user, or need not."""
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def make_folder(self, folder: Path) -> None:
        """Create a folder of mode 700 that this user owns."""
        folder.mkdir(parents=True, mode=0o700)
        if self.options():
            os.chown(folder, self.uid, self.gid)


def require_programs(*names: str) -> None:
    """Raises BadInput if one of these is not installed."""
    for name in names:
        if shutil.which(name) is None:
            remedy = f"apt-get install {PACKAGES[name]} (or use the image snn-fusion/backup)"
            raise BadInput(name, "is not installed", remedy)


def run(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    limit_s: float = 6 * 3600,
    user: User | None = None,
) -> Completed:
    """Run a program to its end. Raises SnnFusionError when `limit_s` has passed."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        **(user.options() if user else {}),
    )
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        _end(process)
        raise SnnFusionError(f"{Path(command[0]).name}: no end after {limit_s:.0f} s") from None
    except BaseException:
        _end(process)
        raise
    return Completed(process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=TERMINATE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def report(damaged: list[str], text: str) -> None:
    """Add a damaged backup to the list, and tell whoever is waiting."""
    damaged.append(text)
    print_waiting(text)


def check_space(path: Path, bytes_needed: int, what: str) -> None:
    """Raises BadInput if the disk that `path` lies on, or will lie on, is too small."""
    free = shutil.disk_usage(nearest_existing(path)).free
    if bytes_needed + SPARE > free:
        problem = f"{what} takes up to {human_bytes(bytes_needed)}, and {human_bytes(free)} are free there"
        raise BadInput(path, problem, "free some space, or name another place")


def human_bytes(count: float) -> str:
    units, unit = ("B", "KB", "MB", "GB", "TB"), 0
    while count >= 1000 and unit < len(units) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.{min(unit, 1)}f} {units[unit]}"
