"""What `package` last ended with, and of what: where nothing of it has changed, it ends with the same.

Without MLflow, whose import takes longer than all else that it then does. Only for a registry in the workspace, since
only there it can be seen at once that nothing has changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from snn_fusion.config import Params
from snn_fusion.registry import record
from snn_fusion.registry.tracking import artifact_root, database, on_server
from snn_fusion.workspace import STAMP, Workspace, code_digest, digest, file_digest, listing, write_atomic

# What decides and describes, without what `push` adds after it and the times of it.
QUERIES = (
    "SELECT name, version, run_id, source, current_stage FROM model_versions ORDER BY 1, 2",
    "SELECT name, version, key, value FROM model_version_tags WHERE key <> 'recordings_md5' ORDER BY 1, 2, 3",
    "SELECT * FROM registered_model_aliases ORDER BY 1, 2, 3",
    "SELECT * FROM registered_model_tags ORDER BY 1, 2, 3",
    "SELECT run_uuid, status, lifecycle_stage FROM runs ORDER BY 1",
    "SELECT run_uuid, key, value FROM tags ORDER BY 1, 2",
)
PUSHED = "/artifacts/dvc/"  # files of a run that `push` adds
STAGES = ("validated", "trained", "evaluated", "compared", "registered")


def unless_unchanged(
    command: str, params: Params, ws: Workspace, work: Callable[[], dict[str, Any]], *places: str
) -> dict[str, Any]:
    """The result of `work`; if nothing has changed since, what it then gives: that there was nothing to do.

    `places` of the workspace hold what the command leaves.
    """
    path = ws.path("cache", "unchanged", f"{command}.json")
    if path.exists() and not on_server() and database(ws).exists():
        before = json.loads(path.read_text())
        if before["state"] == _state(params, ws, places):
            return dict(before["result"])
    result = work()
    if not on_server():
        again = result if result["up_to_date"] else work()
        write_atomic(path, json.dumps({"state": _state(params, ws, places), "result": again}))
    return result


def _state(params: Params, ws: Workspace, places: tuple[str, ...]) -> str:
    with closing(sqlite3.connect(f"file:{database(ws)}?mode=ro", uri=True)) as db:
        rows = [db.execute(query).fetchall() for query in QUERIES]
    stamps = [ws.path(stage, STAMP) for stage in STAGES]
    stamps += [file for stage in ("compiled", "measured") for file in sorted(ws.path(stage).glob(f"*/{STAMP}"))]
    kept = [ws.path("cache", "models"), ws.path("cache", "runs"), ws.path("reference"), ws.path(record.RECORD)]
    files = listing(artifact_root(ws), *kept, *(ws.path(place) for place in places))
    known = [one for one in files if PUSHED not in one[0]]
    return digest(
        params, rows, [file_digest(stamp) for stamp in stamps if stamp.exists()], known, code_digest("."), str(ws.root)
    )
