"""A workspace that was moved or copied: the absolute paths in MLflow's database and Airflow's configuration follow it.

MLflow keeps where each run's and model's files lie as absolute URIs, and Airflow writes absolute folders into
airflow.cfg. Both would lead back to the old place, and be written to there.
"""

from __future__ import annotations

import configparser
import contextlib
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlparse

from filelock import FileLock

from snn_fusion.workspace import disk_errors, write_atomic

ARTIFACTS = "/mlflow/artifacts"  # below the workspace's root: how every database of ours begins its URIs
RECORD = "snn_fusion_place"  # a table of our own, so that the record changes with the URIs or not at all
FILES = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))
URIS = (
    ("experiments", "artifact_location"),
    *FILES,
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
QUOTED = ("datasets", "dataset_source")  # JSON that holds a URI
BUSY_S = 30.0


def settle(database: Path, root: Path) -> None:
    """Make the URIs in an MLflow database those of the workspace at `root`, where `database` lies. Safe to repeat.

    Databases made before places were recorded are recognised by the URIs of their experiments; what their runs left
    in the old place is copied from there, if it can be read. URIs outside of the old workspace stay.
    """
    root = root.resolve()
    if not database.exists() or _recorded(database) == root:
        return
    with FileLock(database.with_name(".place.lock")), disk_errors(database), _open(database) as db:
        db.execute("BEGIN IMMEDIATE")
        before = _recorded_in(db)
        for old in [before] if before else _roots(db):
            if old != root:
                _fetch(db, old, root, before is None)
                _rewrite(db, old.as_uri() + "/", root.as_uri() + "/")
        default = (root.as_uri() + ARTIFACTS + "/0", 0)  # MLflow puts it into the current folder
        db.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?" + UNUSED, default)
        db.execute(f"CREATE TABLE IF NOT EXISTS {RECORD} (root TEXT NOT NULL)")
        db.execute(f"DELETE FROM {RECORD}")
        db.execute(f"INSERT INTO {RECORD} VALUES (?)", (str(root),))
        db.execute("COMMIT")


UNUSED = " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = experiments.experiment_id)"


def settle_airflow(home: Path) -> None:
    """Make the folders in airflow.cfg those below `home`, Airflow's folder in the workspace."""
    path = home / "airflow.cfg"
    if not path.exists():
        return
    text = path.read_text()
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read_string(text)
    plugins = config.get("core", "plugins_folder", fallback="")
    old = plugins.removesuffix("/plugins")
    if old != plugins and old != str(home):
        write_atomic(path, text.replace(old + "/", f"{home}/"))


def _recorded(database: Path) -> Path | None:
    with disk_errors(database), _open(database) as db:
        return _recorded_in(db)


def _recorded_in(db: sqlite3.Connection) -> Path | None:
    try:
        found = db.execute(f"SELECT root FROM {RECORD}").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return Path(found[0]) if found else None


def _open(database: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(database, timeout=BUSY_S, isolation_level=None))


def _roots(db: sqlite3.Connection) -> list[Path]:
    """Where the workspace lay when its experiments were made."""
    pattern = f"file:///%{ARTIFACTS}"
    found = db.execute("SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?", (pattern,))
    return [_path(uri.removesuffix(ARTIFACTS)) for (uri,) in found]


def _fetch(db: sqlite3.Connection, old: Path, root: Path, legacy: bool) -> None:
    """Copy what a database without a record had its runs write into the old place after the workspace had moved."""
    for table, column in FILES if legacy else ():
        for (uri,) in db.execute(f"SELECT {column} FROM {table} WHERE {column} LIKE 'file:///%'").fetchall():
            source = _path(uri)
            if not source.is_relative_to(old):
                continue
            target = root / source.relative_to(old)
            if source.is_dir() and not target.exists():
                building = target.with_name(f".{target.name}.fetching")
                shutil.rmtree(building, ignore_errors=True)
                shutil.copytree(source, building)
                building.rename(target)


def _rewrite(db: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in URIS:
        command = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
        db.execute(command, (new, len(old) + 1, len(old), old))
    table, column = QUOTED
    db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f'"{old}', f'"{new}'))


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
