"""A PostgreSQL cluster restored to a moment: beside a workspace's snapshot, or alone, to any moment."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snn_fusion.backup import observed, tools
from snn_fusion.backup.cluster import BackupSet, Cluster
from snn_fusion.backup.recovery import programs, recovered
from snn_fusion.backup.registry_server import registry_server
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.snapshot import COPIES
from snn_fusion.registry.tracking import URI
from snn_fusion.workspace import Workspace, remove_tree


@contextlib.contextmanager
def restored_cluster(
    cluster: Cluster,
    sets: Sequence[BackupSet],
    version: str,
    data: Path,
    timeline: int,
    options: Sequence[str],
    archive: bool,
    damaged: list[str],
) -> Iterator[tuple[str, Path]]:
    """The cluster in `data`, from the first of `sets` that is whole, recovered on this timeline as `options` say and
    running for this process only: where it is from, and the folder of its socket.

    `archive`: its log is kept from then on. Raises Damaged if no backup can be read, or the log is damaged, past which
    no earlier backup leads.
    """
    command = f'pgbackrest --stanza={cluster.stanza} --pg1-path="{data}" archive-push %p' if archive else None
    to_the_end = not any(option.startswith("--target=") for option in options)
    for backup_set in sets:
        with contextlib.ExitStack() as stack:
            try:
                remove_tree(data)
                cluster.owner.make_folder(data)
                tools.check_space(data, backup_set.bytes, "PostgreSQL's restore")
                # "current" needs no history file, which a repository that is younger than the timeline lacks.
                target = "current" if backup_set.timeline == timeline else str(timeline)
                cluster.restore(backup_set, data, [*options, f"--target-timeline={target}"], archive)
                socket = stack.enter_context(recovered(data, version, cluster.owner, command, to_the_end))
            except Damaged as error:
                if error.reached:
                    raise
                tools.report(damaged, f"{error}; the one before is taken")
                continue
            yield f"{backup_set.label}, repository {backup_set.repo}", socket
            return
    raise Damaged("no earlier backup of PostgreSQL can be read")


def restore_database(
    params: Params,
    ws: Workspace,
    cluster: Cluster,
    artefacts: Path | None,
    at: datetime | None,
    timeline: int | None,
    data: Path,
) -> dict[str, Any]:
    """Restore the cluster as it was at a moment (None: up to the end of its archived log) into the folder `data`.

    `timeline`: the one of that moment; None: the newest. MLflow's registry in it is compared with the workspace's
    record of promotions. Raises BadInput if no backup is that old or the registry does not fit, SnnFusionError if no
    backup can be read.
    """
    info = cluster.info()
    if info.version is None or not info.sets:
        raise BadInput(f"pgBackRest's stanza {cluster.stanza}", "holds no backup", "see docs/backup.md")
    programs(info.version)
    moment = at or datetime.now(UTC)
    timeline = timeline or info.timeline
    sets = cluster.sets_leading_to(info, moment, timeline)
    if not sets:
        oldest = info.sets[0].stop.isoformat(timespec="seconds")
        raise BadInput("--at", f"the oldest backup of PostgreSQL is of {oldest}", "name a later moment")
    options = ["--type=time", f"--target={at.isoformat(sep=' ')}", "--target-action=promote"] if at else []
    damaged = list[str]()
    try:
        with restored_cluster(cluster, sets, info.version, data, timeline, options, True, damaged) as (origin, socket):
            found = _observe_registry(params, ws, socket, artefacts)
    except Damaged as error:
        if error.reached:
            damaged.append(f"{error}: the log is damaged there; name an earlier moment with --at")
        raise SnnFusionError("PostgreSQL cannot be restored to that moment:\n" + "\n".join(damaged)) from None
    result = {
        "postgres": origin,
        "at": moment.isoformat(timespec="seconds"),
        "champion": (found.get("champion") or {}).get("version"),
    }
    return result | ({"damaged": damaged} if damaged else {})


def _observe_registry(params: Params, ws: Workspace, socket: Path, artefacts: Path | None) -> observed.Observed:
    """The registry in the cluster, observed from a workspace that holds only a copy of the record of promotions.

    Raises BadInput if the two do not fit.
    """
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
