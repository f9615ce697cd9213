"""Where MLflow's database says that artefacts lie, after the workspace's folder has become another one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def rewrite_roots(path: Path, old: Path, new: Path) -> None:
    """Replace the workspace's root in every artefact's place (`file:///old/...`, `/old/...`), in one transaction."""
    pairs = [(old.as_uri() + "/", new.as_uri() + "/"), (f"{old}/", f"{new}/")]
    with closing(sqlite3.connect(path)) as database, database:
        for table, column in _texts(database):
            for before, after in pairs:
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE substr("{column}", 1, ?) = ?',
                    (after, len(before) + 1, len(before), before),
                )


def _texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every column that may hold text."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, name)
        for table in tables
        for _, name, kind, *_ in database.execute(f'PRAGMA table_info("{table}")')
        if kind.upper().startswith(("VARCHAR", "TEXT", "CHAR"))
    ]
