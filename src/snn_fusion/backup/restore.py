"""`snn-fusion restore`: back from a place of backups, into an empty workspace or, when asked, in the place of one.

All is restored beside its place and looked at there; then it is renamed into place. What was there is kept aside.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock

from snn_fusion.backup import places, tools
from snn_fusion.backup.bring_back import Brought, Target, bring_back, candidates
from snn_fusion.backup.cluster import Cluster
from snn_fusion.backup.database import restore_database
from snn_fusion.backup.running import check_nothing_runs
from snn_fusion.backup.settings import Settings
from snn_fusion.backup.sources import REPLACED, RESTORING
from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry.place import settle
from snn_fusion.registry.tracking import database
from snn_fusion.workspace import Workspace, disk_errors, remove_tree

KEPT = (RESTORING, REPLACED, "backups", "lost+found")  # of a workspace: never replaced


class Only(StrEnum):
    """What is restored, where it is not all."""

    workspace = "workspace"
    postgres = "postgres"


@dataclass(frozen=True)
class Wish:
    """Which backup (`at`: the newest up to then), what of it, and whether what is there may be replaced."""

    at: datetime | None = None
    only: Only | None = None
    replace: bool = False


def moment(text: str) -> datetime:
    """A moment as a user names it, of the local time zone where none is named. Raises BadInput."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise BadInput(
            "--at", f"{text!r} is no moment", "for example 2026-03-01T14:30, or 2026-03-01T13:30:00Z"
        ) from None


def restore(params: Params, ws: Workspace, settings: Settings, wish: Wish) -> dict[str, Any]:
    """Bring an installation back and say from which backup.

    Raises BadInput, before anything is changed, if something is at work here, the place is not empty (unless
    `replace`), or place, password, database or disk cannot be used; SnnFusionError if no backup can be restored.
    """
    began = time.monotonic()
    cluster = Cluster(settings.stanza) if settings.stanza and wish.only != Only.workspace else None
    tools.need("restic", *(("pgbackrest", "psql", "pg_isready") if cluster else ()))
    if not cluster and wish.only == Only.postgres:
        raise BadInput("--only postgres", "no PostgreSQL is configured", "set SNN_FUSION_BACKUP_STANZA")
    check_nothing_runs(ws, cluster)
    _check_empty(ws, settings, cluster, wish)
    if wish.only == Only.postgres:
        assert cluster
        beside = _sibling(cluster.data, "restoring")
        try:
            timeline = _timeline(ws, settings, wish.at)
            result = restore_database(params, ws, cluster, settings.artefacts, wish.at, timeline, beside)
            result |= {"replaced": _replace_data(cluster, _stamp())}
        finally:
            remove_tree(beside)
        return result | {"seconds": round(time.monotonic() - began, 1)}
    repositories = places.to_restore_from(ws, settings)
    target = _target(ws, settings, cluster)
    with disk_errors(ws.root), _alone(ws):
        try:
            brought = bring_back(params, repositories, target, cluster, wish.at)
            stamp = _stamp()
            replaced = [_swap(target.workspace, ws.root, stamp)]
            if target.artefacts and target.artefacts.exists() and settings.artefacts:
                replaced.append(_swap(target.artefacts, settings.artefacts, stamp))
            if cluster and target.data and target.data.exists():
                replaced.append(_replace_data(cluster, stamp))
            aside = _put_aside(ws, target, stamp)
        finally:
            target.clear()
        settle(database(ws), ws.root)
    return _result(brought, settings, [one for one in replaced if one], aside, time.monotonic() - began)


def _timeline(ws: Workspace, settings: Settings, at: datetime | None) -> int | None:
    """Which of PostgreSQL's histories was the one at a moment: snapshots of the workspace say so."""
    if at is None or not settings.place:
        return None
    found = candidates(places.to_restore_from(ws, settings), at, False, [])
    return int(found[0][1].tag("timeline") or 0) or None


def _result(
    brought: Brought, settings: Settings, replaced: list[str], aside: list[str], seconds: float
) -> dict[str, Any]:
    found, manifest = brought.found or {}, brought.manifest
    result: dict[str, Any] = {
        "backup": str(brought.snapshot),
        "place": brought.place,
        "champion": (found.get("champion") or {}).get("version"),
        "decisions": (found.get("record") or {}).get("decisions"),
        "answers": f"{len(found.get('answers', {}))} recordings"
        + (", as when it was backed up" if manifest["expected"] and found else ""),
        "seconds": round(seconds, 1),
    }
    if brought.database:
        result["postgres"] = brought.database
    elif manifest["postgres"]:
        result["postgres"] = "not restored: set SNN_FUSION_BACKUP_STANZA where pgBackRest is"
    elif manifest["server"]:
        result["registry"] = "on an MLflow server whose database is not in this backup: not restored, not looked at"
    if brought.damaged:
        result["damaged"] = brought.damaged
    if replaced:
        result["replaced"] = replaced
    if aside:
        result["beside"] = aside
    return result


def _check_empty(ws: Workspace, settings: Settings, cluster: Cluster | None, wish: Wish) -> None:
    """Nothing that is here is replaced unasked, but what a killed restore left."""
    folders = [] if wish.only == Only.postgres else [ws.root, *filter(None, [settings.artefacts])]
    for folder in folders:
        if not wish.replace and not (folder / RESTORING).exists() and (there := _content(folder)):
            remedy = (
                "name a new folder with SNN_FUSION_HOME, or restore with --replace, which keeps what is there aside"
            )
            raise BadInput(folder, f"is not empty: {there[0].name} is there", remedy)
    if cluster:
        data = cluster.data
        if not data.parent.is_dir() or data.is_mount():
            problem = "has to lie in a folder of its volume, so that it can be restored beside it and renamed"
            raise BadInput(data, problem, "mount the volume one folder above the data directory")
        if not wish.replace and data.is_dir() and any(data.iterdir()):
            raise BadInput(data, "is not empty", "restore with --replace, which keeps what is there aside")


def _content(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name not in KEPT and not path.name.startswith(".lock")]
    return sorted(found, key=lambda path: (path.name.startswith("."), path.name))


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
def _alone(ws: Workspace) -> Iterator[None]:
    """No stage and no backup begins meanwhile; nothing waits here, since `check_nothing_runs` has looked."""
    ws.path("backups").mkdir(parents=True, exist_ok=True)
    with ws.lock("restore", "backups/.lock"), FileLock(ws.path(".lock")):
        yield


def _swap(new: Path, folder: Path, stamp: str) -> str | None:
    """Put the content of `new` into `folder`; where what was there lies now, if there was something."""
    old = folder / REPLACED / stamp
    there = _content(folder)
    for path in there:
        old.mkdir(parents=True, exist_ok=True)
        path.rename(old / path.name)
    for path in new.iterdir():
        if path.name not in KEPT and not path.name.startswith(".lock"):
            path.rename(folder / path.name)
    return str(old) if there else None


def _replace_data(cluster: Cluster, stamp: str) -> str | None:
    data, old = cluster.data, _sibling(cluster.data, f"replaced-{stamp}")
    there = data.is_dir() and any(data.iterdir())
    if there:
        data.rename(old)
    else:
        remove_tree(data)
    _sibling(data, "restoring").rename(data)
    return str(old) if there else None


def _put_aside(ws: Workspace, target: Target, stamp: str) -> list[str]:
    """Configuration, keys and whatever has no place here: beside, for a person to look at."""
    kept = ws.path("backups", "restored", stamp)
    found = [path for path in (target.configuration, target.folder / "artefacts") if path.exists()]
    for path in found:
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.rename(kept / path.name)
    return [str(kept / path.name) for path in found]


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
