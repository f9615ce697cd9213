"""PostgreSQL alone, to any moment: for a database that was emptied while workspace and artefacts are whole."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snn_fusion.backup import observed
from snn_fusion.backup.bring_back import archive_command, put_back
from snn_fusion.backup.cluster import Cluster
from snn_fusion.backup.recovery import programs, recovered
from snn_fusion.backup.registry_server import registry_server
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.snapshot import COPIES
from snn_fusion.registry.tracking import URI
from snn_fusion.workspace import Workspace, print_waiting, remove_tree


def restore_database(
    params: Params,
    ws: Workspace,
    cluster: Cluster,
    artefacts: Path | None,
    at: datetime | None,
    timeline: int | None,
    data: Path,
) -> dict[str, Any]:
    """The cluster as it was at a moment (None: up to the end of what is archived), in the folder `data`.

    `timeline`: of the histories that restores began, the one of that moment; None: the newest. MLflow's registry in it
    is compared with the workspace's record of promotions. Raises BadInput if no backup is that old, SnnFusionError if
    none can be read.
    """
    known = cluster.known()
    if known.version is None or not known.sets:
        raise BadInput(f"pgBackRest's stanza {cluster.stanza}", "holds no backup", "see docs/backup.md")
    programs(known.version)
    remove_tree(data)
    moment = at or datetime.now(UTC)
    history = timeline or known.timeline
    sets = cluster.usable(known, moment, history)
    if not sets:
        oldest = known.sets[0].stop.isoformat(timespec="seconds")
        raise BadInput("--at", f"the oldest backup of PostgreSQL is of {oldest}", "name a later moment")
    failed = list[str]()
    options = [f"--target-timeline={history}"]
    options += ["--type=time", f"--target={at.isoformat(sep=' ')}", "--target-action=promote"] if at else []
    for one in sets:
        try:
            put_back(cluster, one, data, options, archive=True)
            archive = archive_command(cluster, data)
            with recovered(data, known.version, cluster.owner, archive, to_the_end=at is None) as socket:
                found = _look(params, ws, socket, artefacts)
        except Damaged as error:
            failed.append(f"{one.label}, repository {one.repo}: {error}")
            if error.reached:
                failed.append("the log is damaged there; name an earlier moment with --at")
                break
            print_waiting(f"{failed[-1]}; the one before is taken")
            continue
        result: dict[str, Any] = {"postgres": f"{one.label}, repository {one.repo}"}
        result["at"] = moment.isoformat(timespec="seconds")
        result["champion"] = (found.get("champion") or {}).get("version")
        return result | ({"damaged": failed} if failed else {})
    remove_tree(data)
    raise SnnFusionError("PostgreSQL cannot be restored to that moment:\n" + "\n".join(failed))


def _look(params: Params, ws: Workspace, socket: Path, artefacts: Path | None) -> observed.Observed:
    """What the registry says, in a workspace that holds nothing but a copy of the record of promotions."""
    if artefacts is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="snn-restore-") as name:
        folder = Path(name)
        for path in (ws.path(RECORD), *ws.root.glob(COPIES)):
            if path.exists():
                shutil.copy(path, folder / path.name)
        try:
            with registry_server(socket, artefacts) as url:
                return observed.observe(params, folder, restored=True, env={URI: url})
        except Damaged as error:
            problem = f"as it was then, PostgreSQL does not fit workspace and artefacts: {error}"
            raise BadInput("--only postgres", problem, "restore all, without --only") from None
