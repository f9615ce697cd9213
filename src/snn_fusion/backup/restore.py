"""`snn-fusion restore`: from a place of backups into an empty workspace or, on request, in the place of one.

All is restored beside its place and checked there, then renamed into place. What was there is kept aside.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from snn_fusion.backup import places, tools
from snn_fusion.backup.cluster import Cluster
from snn_fusion.backup.database import restore_database
from snn_fusion.backup.extract import Extracted, Target, candidates, extract_newest
from snn_fusion.backup.running import check_nothing_runs
from snn_fusion.backup.settings import Only, Settings
from snn_fusion.backup.sources import REPLACED, RESTORING
from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry.place import settle
from snn_fusion.registry.tracking import database
from snn_fusion.workspace import Workspace, disk_errors, remove_tree

KEPT = (RESTORING, REPLACED, "backups", "lost+found")  # of a workspace: never replaced


@dataclass(frozen=True)
class Request:
    """Which backup (`at`: the newest up to then), what of it, and whether what is there may be replaced."""

    at: datetime | None = None
    only: Only | None = None
    replace: bool = False


def parse_moment(text: str) -> datetime:
    """A moment as a user writes it, in the local time zone unless it names one. Raises BadInput."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise BadInput(
            "--at", f"{text!r} is no moment", "for example 2026-03-01T14:30, or 2026-03-01T13:30:00Z"
        ) from None


def restore(params: Params, ws: Workspace, settings: Settings, request: Request) -> dict[str, Any]:
    """Restore an installation; which backup it is from, and what was found in it.

    Raises BadInput, before anything is changed, if something is at work here, the place is not empty (unless
    `replace`), or place, password, database or disk cannot be used; SnnFusionError if no backup can be restored.
    """
    began = time.monotonic()
    cluster = Cluster(settings.stanza) if settings.stanza and request.only != Only.workspace else None
    tools.require_programs("restic", *(("pgbackrest", "psql") if cluster else ()))
    if not cluster and request.only == Only.postgres:
        raise BadInput("--only postgres", "no PostgreSQL is configured", "set SNN_FUSION_BACKUP_STANZA")
    check_nothing_runs(ws, cluster)
    _check_empty(ws, settings, cluster, request)
    if cluster and request.only == Only.postgres:
        result = _restore_database(params, ws, settings, cluster, request.at)
    else:
        result = _restore_all(params, ws, settings, cluster, request.at)
    return result | {"seconds": round(time.monotonic() - began, 1)}


def _restore_database(
    params: Params, ws: Workspace, settings: Settings, cluster: Cluster, at: datetime | None
) -> dict[str, Any]:
    beside = _sibling(cluster.data, "restoring")
    try:
        timeline = _timeline(ws, settings, at)
        result = restore_database(params, ws, cluster, settings.artefacts, at, timeline, beside)
        return result | {"replaced": _replace_data(cluster, _stamp())}
    finally:
        remove_tree(beside)


def _timeline(ws: Workspace, settings: Settings, at: datetime | None) -> int | None:
    """PostgreSQL's timeline at a moment, as the snapshots of the workspace say."""
    if at is None or not settings.place:
        return None
    (_, newest), *_ = candidates(places.reachable_repositories(ws, settings), at, False, [])
    return int(newest.tag("timeline") or 0) or None


def _restore_all(
    params: Params, ws: Workspace, settings: Settings, cluster: Cluster | None, at: datetime | None
) -> dict[str, Any]:
    repositories = places.reachable_repositories(ws, settings)
    target = _target(ws, settings, cluster)
    with disk_errors(ws.root), _exclusive(ws):
        try:
            extracted = extract_newest(params, repositories, target, cluster, at)
            stamp = _stamp()
            replaced = [_swap(target.workspace, ws.root, stamp)]
            if target.artefacts and target.artefacts.exists() and settings.artefacts:
                replaced.append(_swap(target.artefacts, settings.artefacts, stamp))
            if cluster and target.data and target.data.exists():
                replaced.append(_replace_data(cluster, stamp))
            beside = _put_beside(ws, target, stamp)
        finally:
            target.clear()
        settle(database(ws), ws.root)
    lists = {"damaged": extracted.damaged, "replaced": [path for path in replaced if path], "beside": beside}
    return _described(extracted) | {name: paths for name, paths in lists.items() if paths}


def _described(extracted: Extracted) -> dict[str, Any]:
    found, manifest = extracted.found or {}, extracted.manifest
    compared = ", as when it was backed up" if manifest["expected"] and found else ""
    result: dict[str, Any] = {
        "backup": str(extracted.snapshot),
        "place": extracted.place,
        "champion": (found.get("champion") or {}).get("version"),
        "decisions": (found.get("record") or {}).get("decisions"),
        "answers": f"{len(found.get('answers', {}))} recordings{compared}",
    }
    if extracted.database:
        result["postgres"] = extracted.database
    elif manifest["postgres"]:
        result["postgres"] = "not restored: set SNN_FUSION_BACKUP_STANZA where pgBackRest is"
    elif manifest["server"]:
        result["registry"] = "on an MLflow server whose database is not in this backup: neither restored nor checked"
    return result


def _check_empty(ws: Workspace, settings: Settings, cluster: Cluster | None, request: Request) -> None:
    """Raises BadInput if something would be replaced without being asked for; what a killed restore left may be."""
    folders = [] if request.only == Only.postgres else [ws.root, *filter(None, [settings.artefacts])]
    for folder in folders:
        if not request.replace and not (folder / RESTORING).exists() and (content := _content(folder)):
            remedy = (
                "name a new folder with SNN_FUSION_HOME, or restore with --replace, which keeps what is there aside"
            )
            raise BadInput(folder, f"is not empty: {content[0].name} is there", remedy)
    if cluster:
        data = cluster.data
        if not data.parent.is_dir() or data.is_mount():
            problem = "has to lie in a folder of its volume, so that it can be restored beside it and renamed"
            raise BadInput(data, problem, "mount the volume one folder above the data directory")
        if not request.replace and data.is_dir() and any(data.iterdir()):
            raise BadInput(data, "is not empty", "restore with --replace, which keeps what is there aside")


def _content(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.name not in KEPT and not path.name.startswith(".lock")]
    return sorted(paths, key=lambda path: (path.name.startswith("."), path.name))


def _target(ws: Workspace, settings: Settings, cluster: Cluster | None) -> Target:
    """Beside what is to be replaced, so that renaming does it."""
    return Target(
        ws.path(RESTORING),
        settings.artefacts / RESTORING if settings.artefacts else None,
        _sibling(cluster.data, "restoring") if cluster else None,
        archive=True,
    )


def _sibling(data: Path, what: str) -> Path:
    return data.with_name(f"{data.name}.{what}")


@contextlib.contextmanager
def _exclusive(ws: Workspace) -> Iterator[None]:
    """No stage and no backup begins meanwhile; nothing waits here, since `check_nothing_runs` has looked."""
    ws.path("backups").mkdir(parents=True, exist_ok=True)
    with ws.lock("restore", "backups/.lock"), FileLock(ws.path(".lock")):
        yield


def _swap(new: Path, folder: Path, stamp: str) -> str | None:
    """Move the content of `new` into `folder`; the folder that what was there was moved to, if there was something."""
    old = folder / REPLACED / stamp
    content = _content(folder)
    for path in content:
        old.mkdir(parents=True, exist_ok=True)
        path.rename(old / path.name)
    for path in new.iterdir():
        if path.name not in KEPT and not path.name.startswith(".lock"):
            path.rename(folder / path.name)
    return str(old) if content else None


def _replace_data(cluster: Cluster, stamp: str) -> str | None:
    data, old = cluster.data, _sibling(cluster.data, f"replaced-{stamp}")
    occupied = data.is_dir() and any(data.iterdir())
    if occupied:
        data.rename(old)
    else:
        remove_tree(data)
    _sibling(data, "restoring").rename(data)
    return str(old) if occupied else None


def _put_beside(ws: Workspace, target: Target, stamp: str) -> list[str]:
    """Keep configuration, keys and whatever has no place here in a folder of its own, for a person to look at."""
    folder = ws.path("backups", "restored", stamp)
    paths = [path for path in (target.configuration, target.folder / "artefacts") if path.exists()]
    for path in paths:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.rename(folder / path.name)
    return [str(folder / path.name) for path in paths]


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
