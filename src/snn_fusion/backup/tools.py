"""The programs that do the work, run with a time limit and ended with us."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput, SnnFusionError

PATIENCE_S = 20.0  # that a program gets to remove its locks, before it is killed
PACKAGES = {"restic": "restic", "pgbackrest": "pgbackrest", "psql": "postgresql-client-15"}
MARGIN = 16 << 20  # bytes that are to stay free


class Damaged(SnnFusionError):
    """An archive cannot be read back whole. `reached`: the place in PostgreSQL's log up to which it could be."""

    def __init__(self, message: str, reached: str | None = None) -> None:
        self.reached = reached
        super().__init__(message)


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """What it said of an error, in one line."""
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        return "; ".join(lines[-3:])[:600] or f"exit code {self.code}"


def need(*programs: str) -> None:
    """Raises BadInput if one of these is not installed."""
    for name in programs:
        if shutil.which(name) is None:
            remedy = f"apt-get install {PACKAGES[name]} (or use the image snn-fusion/backup)"
            raise BadInput(name, "is not installed", remedy)


@dataclass(frozen=True)
class User:
    """Whom a program runs as."""

    uid: int
    gid: int

    def options(self) -> dict[str, Any]:
        """For Popen; nothing where we are that user already, or are nobody who could change it."""
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def make(self, folder: Path) -> None:
        """An empty folder of this user's, which nobody else can look into."""
        folder.mkdir(parents=True, mode=0o700)
        if self.options():
            os.chown(folder, self.uid, self.gid)


def run(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    limit_s: float = 6 * 3600,
    user: User | None = None,
) -> Done:
    """Run a program to its end. Raises SnnFusionError when the time is over."""
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
    return Done(process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def check_space(where: Path, bytes_needed: int, what: str) -> None:
    """Raises BadInput if the disk that `where` lies on, or will lie on, is too small."""
    there = next(path for path in (where, *where.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if bytes_needed + MARGIN > free:
        problem = f"{what} takes up to {in_words(bytes_needed)}, and {in_words(free)} are free there"
        raise BadInput(where, problem, "free some space, or name another place")


def in_words(count: float) -> str:
    """Bytes, for people."""
    units, unit = ("B", "KB", "MB", "GB", "TB"), 0
    while count >= 1000 and unit < len(units) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.{min(unit, 1)}f} {units[unit]}"
