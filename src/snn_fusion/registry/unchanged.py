"""What `package` last ended with, and of what: where nothing of it has changed, it ends with the same.

Without MLflow, whose import takes longer than all else that it then does. Only for a registry in the workspace, since
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
)
PUSHED = f"/artifacts/{IN_RUN}/"  # files of a run that `push` adds


def unless_unchanged(name: str, ws: Workspace, work: Callable[[], dict[str, Any]], *places: Path) -> dict[str, Any]:
    """The result of `work`; if nothing has changed since, what it then gives: that there was nothing to do.

    `places` are the files and folders that it reads beside the registry and the code, and those that it leaves.
    """
    if on_server():
        return work()
    path, state = ws.path("cache", "unchanged", f"{name}.json"), _state(ws, places)
    if (kept := _kept(path)) and kept["state"] == state:
        return dict(kept["result"])
    result = again = work()
    if not result["up_to_date"]:
        state, again = _state(ws, places), work()
    if again["up_to_date"] and _state(ws, places) == state:  # else another process has changed something meanwhile
        write_atomic(path, json.dumps({"state": state, "result": again}))
    return result


def _kept(path: Path) -> dict[str, Any] | None:
    """None as well for a file that was damaged: the work is done again."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.keys() == {"state", "result"} else None


def _state(ws: Workspace, places: tuple[Path, ...]) -> str:
    if not database(ws).exists():
        return "no registry"
    with closing(sqlite3.connect(f"file:{database(ws)}?mode=ro", uri=True)) as db:
        rows = [db.execute(query).fetchall() for query in QUERIES]
    files = listing(artifact_root(ws), ws.path("cache", "models"), ws.path("cache", "runs"), *places)
    return digest(rows, [one for one in files if PUSHED not in one[0]], code_digest("."), str(ws.root))
