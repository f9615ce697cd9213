"""`snn-fusion drill`: the newest backup restored into an empty place, and compared with what was observed then."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from snn_fusion.backup import places, state, tools
from snn_fusion.backup.cluster import Cluster
from snn_fusion.backup.extract import Target, extract_newest
from snn_fusion.backup.settings import Settings
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import Workspace, disk_errors, remove_tree, write_atomic

LIMIT_S = 4 * 3600.0
POLL_S = 5.0


def drill(params: Params, ws: Workspace, settings: Settings) -> dict[str, Any]:
    """Restore, compare, remove. How it ended is noted in backups/state.json.

    Raises BadInput if there is no backup or nothing to compare, SnnFusionError if the newest one is damaged or is not
    what was backed up: for a restore the one before would do, but somebody has to know.
    """
    began = time.monotonic()
    try:
        with ws.lock("drill", "backups/.lock"), disk_errors(ws.root):
            result = _drill(params, ws, settings)
    except SnnFusionError as error:
        state.note(ws, "drill", ok=False, error=str(error), seconds=round(time.monotonic() - began, 1))
        raise
    seconds = round(time.monotonic() - began, 1)
    state.note(ws, "drill", ok=True, seconds=seconds)
    return result | {"seconds": seconds}


def request(ws: Workspace, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Have the backup container do it, and wait for its result. Raises SnnFusionError if the drill fails."""
    asked = datetime.now(UTC).replace(microsecond=0)
    write_atomic(ws.path("backups", "drill.request"), asked.isoformat())
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        done = state.when(ws, "drill")
        if done and done >= asked and not ws.path("backups", "drill.request").exists():
            result: dict[str, Any] = state.read(ws)["drill"]
            if not result["ok"]:
                raise SnnFusionError(f"the backup container: {result['error']}")
            return result
        time.sleep(POLL_S)
    raise SnnFusionError(f"the backup container has not answered within {limit_s / 3600:.0f} h: is it running?")


def _drill(params: Params, ws: Workspace, settings: Settings) -> dict[str, Any]:
    cluster = Cluster(settings.stanza) if settings.stanza else None
    tools.require_programs("restic", *(("pgbackrest", "psql") if cluster else ()))
    folder = ws.path("backups", "drill")
    target = Target(folder / "files", folder / "artefacts", folder / "postgres" if cluster else None)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)  # PostgreSQL's user has to reach its own in it
        extracted = extract_newest(
            params, places.reachable_repositories(ws, settings), target, cluster, whole_only=True
        )
    finally:
        remove_tree(folder)
    if extracted.damaged:
        raise SnnFusionError("; ".join(extracted.damaged))
    expected, found = extracted.manifest["expected"], extracted.found
    if not expected or not expected["champion"] or not found:
        problem = "has no champion's answers, so that nothing can be compared"
        raise BadInput(f"backup {extracted.snapshot}", problem, "run `snn-fusion retrain`, then `snn-fusion backup`")
    return {
        "backup": str(extracted.snapshot),
        "place": extracted.place,
        "champion": found["champion"]["version"],
        "decisions": (found["record"] or {}).get("decisions"),
        "answers": f"{len(expected['answers'])} recordings, the same",
    }
