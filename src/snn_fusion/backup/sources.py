"""What of a workspace is backed up, and how a snapshot is of one moment while stages are at work.

A backup takes no lock: a training holds the workspace's for hours. A finished stage is a folder that never changes and
is replaced whole, so a snapshot during which none was replaced is of one moment; otherwise it is taken again, which
reads only what has changed. SQLite's files do change: SQLite's own backup copies them first, and the snapshot leaves
them out.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from snn_fusion.backup.restic import literal
from snn_fusion.data.imported import FILES, STAGE
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.snapshot import COPIES
from snn_fusion.workspace import STAMP, Workspace, disk_error_in, remove_tree

STAGING = ".backup"  # in the workspace: the copies of databases and the manifest
MANIFEST = "manifest.json"
RESTORING, REPLACED = ".restoring", ".replaced"
BUSY_S = 30.0
# What can be made again, or belongs to this place only: locks, the state of backups, what is being built or removed.
EXCLUDED = (
    *("cache", "downloads", "reproduce", "logs", "airflow/logs", "backups"),
    *(".building", RESTORING, REPLACED, f".old/{STAGE}.*", ".lock*", ".*.lock", "airflow/.*.lock", "mlflow/.*.lock"),
    *("dvc/*/.dvc/tmp", "airflow/*.pid", "airflow/ui.json"),
)
UNCHANGING = (
    "recordings",
    "cache",
    "downloads",
    "logs",
    "reproduce",
    "backups",
    ".building",
    RESTORING,
    REPLACED,
    STAGING,
)
MAGIC = b"SQLite format 3\x00"
BESIDE = ("-wal", "-shm", "-journal")


def fingerprint(ws: Workspace) -> dict[str, tuple[int, ...]]:
    """What differs between two states of the workspace: which stages are in place, which recordings are current, and
    the record of promotions.
    """
    stamps = [*ws.root.glob(f"[!.]*/{STAMP}"), *ws.root.glob(f"[!.]*/*/{STAMP}")]
    files = [*stamps, *(ws.path(STAGE, name) for name in FILES), ws.path(RECORD), *ws.root.glob(COPIES)]
    states = {}
    for file in files:
        try:
            stat, folder = file.stat(), file.parent.stat()
        except OSError:
            continue
        place = (folder.st_ino,) if file.name == STAMP else ()
        states[str(file)] = (*place, stat.st_ino, stat.st_ctime_ns)
    return states


def copy_databases(ws: Workspace) -> list[str]:
    """Copy every SQLite database into the staging folder; their paths within the workspace.

    Raises SnnFusionError naming one that is damaged.
    """
    target = ws.path(STAGING, "databases")
    remove_tree(target)
    target.mkdir(parents=True)
    names = sorted(path.relative_to(ws.root).as_posix() for path in databases(ws.root))
    for name in names:
        _copy(ws.path(name), target / name)
    return names


def put_databases_in_place(workspace: Path) -> None:
    """In a restored workspace, move the copies of the databases to where they belong."""
    copies = workspace / STAGING / "databases"
    for copy in [path for path in copies.rglob("*") if path.is_file()]:
        place = workspace / copy.relative_to(copies)
        place.parent.mkdir(parents=True, exist_ok=True)
        copy.replace(place)
    remove_tree(workspace / STAGING)


def databases(root: Path) -> Iterator[Path]:
    """The SQLite databases of a workspace, outside of folders whose files never change."""
    for folder, names, files in os.walk(root):
        if Path(folder) == root:
            names[:] = [name for name in names if name not in UNCHANGING]
        for name in files:
            path = Path(folder, name)
            if path.suffix in (".db", ".sqlite", ".sqlite3") and not path.is_symlink() and _is_sqlite(path):
                yield path


def exclude_patterns(ws: Workspace, copied: list[str]) -> list[str]:
    """Patterns of what a snapshot leaves out: what can be made again, and databases that were copied."""
    root = literal(ws.root)
    names = [literal(name) for name in copied]
    beside = [name + ending for name in names for ending in BESIDE]
    return [f"{root}/{pattern}" for pattern in (*EXCLUDED, *names, *beside)]


def sizes(ws: Workspace, place: Path, since: datetime | None) -> tuple[int, int]:
    """Bytes of all files of a folder and of those written since then: what a snapshot of it holds, and adds at most."""
    limit = since.timestamp() if since else 0.0
    excluded = {pattern for pattern in EXCLUDED if "/" not in pattern} if place == ws.root else set()
    total = changed = 0
    for folder, names, files in os.walk(place):
        if Path(folder) == place:
            names[:] = [name for name in names if name not in excluded]
        for name in files:
            try:
                stat = os.lstat(Path(folder, name))
            except OSError:
                continue
            total += stat.st_size
            changed += stat.st_size if stat.st_ctime > limit else 0
    return total, changed


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _copy(source: Path, target: Path) -> None:
    """SQLite's own backup: whole, whoever is writing meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
            verdict = new.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if disk_error_in(str(error)):
            raise  # of the disk, not the database
        verdict = str(error)
    if verdict != "ok":
        raise SnnFusionError(f"{source}: the database cannot be copied: {verdict}; restore it from an earlier backup")
    shutil.copymode(source, target)
