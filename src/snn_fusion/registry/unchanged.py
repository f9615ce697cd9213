"""What `promote` and `package` last ended with, and of what: where nothing of it has changed, they end with the same.

Without MLflow, whose import takes longer than all else that they then do. Only for a registry in the workspace, since
only there it can be seen at once that nothing has changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from snn_fusion.registry.tracking import artifact_root, database, on_server
from snn_fusion.registry.versioning import IN_RUN, TAG
from snn_fusion.workspace import Workspace, code_digest, digest, listing, write_atomic

# What decides and describes, without what `push` adds after it and the times of it.
QUERIES = (
    "SELECT name, version, run_id, source, current_stage FROM model_versions ORDER BY 1, 2",
    f"SELECT name, version, key, value FROM model_version_tags WHERE key <> '{TAG}' ORDER BY 1, 2, 3",
    "SELECT * FROM registered_model_aliases ORDER BY 1, 2, 3",
    "SELECT * FROM registered_model_tags ORDER BY 1, 2, 3",
    "SELECT run_uuid, status, lifecycle_stage FROM runs ORDER BY 1",
    "SELECT run_uuid, key, value FROM tags ORDER BY 1, 2",
    "SELECT run_uuid, key, value FROM params ORDER BY 1, 2",  # the record of promotions among them
)
PUSHED = f"/artifacts/{IN_RUN}/"  # files of a run that `push` adds


def unless_unchanged(name: str, ws: Workspace, work: Callable[[], dict[str, Any]], *places: Path) -> dict[str, Any]:
    """The result of `work`; if nothing has changed since, what it then gives: that there was nothing to do.

    `places` are the files and folders that it reads beside the registry and the code, and those that it leaves.
    """
    path = ws.path("cache", "unchanged", f"{name}.json")
    if path.exists() and not on_server() and database(ws).exists():
        before = json.loads(path.read_text())
        if before["state"] == _state(ws, places):
            return dict(before["result"])
    result = work()
    if not on_server():
        again = result if result["up_to_date"] else work()
        write_atomic(path, json.dumps({"state": _state(ws, places), "result": again}))
    return result


def _state(ws: Workspace, places: tuple[Path, ...]) -> str:
    with closing(sqlite3.connect(f"file:{database(ws)}?mode=ro", uri=True)) as db:
        rows = [db.execute(query).fetchall() for query in QUERIES]
    files = listing(artifact_root(ws), ws.path("cache", "models"), ws.path("cache", "runs"), *places)
    return digest(rows, [one for one in files if PUSHED not in one[0]], code_digest("."), str(ws.root))
