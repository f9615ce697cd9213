"""`snn-fusion backup`: a snapshot of one moment, what is too old removed, the rest read back and copied elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snn_fusion.backup import observed, places, sources, state, tools
from snn_fusion.backup.cluster import Cluster, Point
from snn_fusion.backup.password import own_file
from snn_fusion.backup.restic import Repository, Taken, literal
from snn_fusion.backup.settings import Settings, is_folder
from snn_fusion.backup.sources import REPLACED, RESTORING
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.tracking import on_server
from snn_fusion.workspace import Workspace, disk_errors, print_waiting, project_root, remove_tree, write_atomic

SCHEMA = 1
ATTEMPTS = 5
SMALL = 1 << 30  # bytes of a repository that is read back as a whole each time
PARTS = 30  # of a larger one, a part a day
WRITTEN_BY_HAND = ("params.yaml", "dvc-options.yaml", "dvc.lock", "keys", ".dvc/config", ".dvc/config.local")


@dataclass(frozen=True)
class Origin:
    """What is backed up: a workspace, and where there are such an MLflow server's artefacts and configuration."""

    ws: Workspace
    artefacts: Path | None
    configuration: tuple[Path, ...]
    secret: Path  # the password's file, which is never part of what it encrypts

    @property
    def paths(self) -> list[Path]:
        return [self.ws.root, *filter(None, [self.artefacts]), *self.configuration]


def backup(params: Params, ws: Workspace, settings: Settings, quick: bool = False) -> dict[str, Any]:
    """Back the installation up; `quick`: a snapshot only, with nothing removed, read back or copied.

    Raises BadInput, before anything is changed, for a place, password, database or disk that cannot be used;
    SnnFusionError if what was made cannot be relied on. How it ended is in backups/state.json.
    """
    what = "snapshot" if quick else "backup"
    if not ws.root.is_dir():
        raise BadInput(ws.root, "there is no workspace to back up", "set SNN_FUSION_HOME, or run `snn-fusion import`")
    with disk_errors(ws.root):
        ws.path("backups").mkdir(exist_ok=True)
    with ws.lock(what, "backups/.lock"), disk_errors(ws.root):
        try:
            result = _backup(params, ws, settings, quick)
        except SnnFusionError as error:
            state.note(ws, what, ok=False, error=str(error), bytes=0, verified=False)
            raise
        finally:
            remove_tree(ws.path(sources.STAGING))
        problem = result.pop("problem")
        state.note(ws, what, ok=not problem, error=problem, bytes=result["bytes"], verified=not quick)
    if problem:
        raise SnnFusionError(f"the backup {result['snapshot']} is made and whole, but what it is of is not: {problem}")
    return result


def _backup(params: Params, ws: Workspace, settings: Settings, quick: bool) -> dict[str, Any]:
    tools.need("restic", *(("pgbackrest", "psql", "pg_isready") if settings.stanza else ()))
    looked, now = places.looked_at(ws, settings), datetime.now(UTC)
    origin = Origin(ws, settings.artefacts, configuration(ws, settings), looked[0].repository.password)
    sizes = _check_disk(origin, looked)
    cluster = Cluster(settings.stanza) if settings.stanza else None
    known = cluster.checked() if cluster else None
    repositories = places.opened(ws, looked)
    first = repositories[0]
    if cluster and known:
        known = cluster.prepared(known)
    if cluster and known and not quick:
        cluster.backup(known, now)
        known = cluster.known()
    taken, said, problem = _snapshot(params, origin, first, cluster, quick, sizes)
    result = {
        "snapshot": taken.id,
        "place": str(first),
        "bytes": taken.bytes + (known.sets[-1].bytes if known and known.sets else 0),
        "new_bytes": taken.added,
        "champion": ((said or {}).get("champion") or {}).get("version"),
        "problem": problem,
    }
    if quick:
        return result
    if cluster and known:
        cluster.verify(known)
    for source, one in zip([None, *repositories], repositories, strict=False):
        if source:
            one.copy_from(source)
        one.thin(settings.keep_days)
        verify(one, now)
    snapshots, _ = first.snapshots()
    result |= {"verified": True, "kept": len(snapshots), "oldest": snapshots[0].time.isoformat(timespec="seconds")}
    if settings.second:
        result["second"] = str(repositories[1])
    if first.password == own_file():
        result["password"] = f"{first.password} (keep a copy of it elsewhere)"
    return result


def verify(one: Repository, now: datetime) -> None:
    """Read a repository back: all of a small one, else each day another part. Raises Damaged."""
    stored = one.stored()
    one.verify(None if stored is not None and stored <= SMALL else now.toordinal() % PARTS + 1, PARTS)


def configuration(ws: Workspace, settings: Settings) -> tuple[Path, ...]:
    """What was written by hand and lies outside of the workspace: as named, else that of the checkout."""
    if settings.configuration:
        return settings.configuration
    there = (project_root() / name for name in WRITTEN_BY_HAND)
    return tuple(path for path in there if path.exists() and not path.is_relative_to(ws.root))


def _snapshot(
    params: Params, origin: Origin, first: Repository, cluster: Cluster | None, quick: bool, sizes: dict[str, int]
) -> tuple[Taken, observed.Observed | None, str]:
    """A snapshot during which nothing that belongs together was replaced; what was observed, and what is wrong there.

    Raises SnnFusionError if files cannot be read, or the workspace does not come to rest.
    """
    for _ in range(ATTEMPTS):
        before = sources.moment(origin.ws)
        said, problem = (None, "") if quick else _observed(params, origin)
        name = f"snn-fusion-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        staged = sources.stage_databases(origin.ws)
        point = cluster.point(name) if cluster else None
        _write_manifest(origin, staged, said, cluster, point, sizes)
        tags = ["quick" if quick else "whole", f"root:{quote(str(origin.ws.root))}"]
        tags += [f"lsn:{point.lsn}", f"timeline:{point.timeline}"] if point else []
        left_out = [*sources.skipped(origin.ws, staged), *_left_out(origin)]
        taken = first.take(origin.paths, left_out, tags)
        same = sources.moment(origin.ws) == before
        unread = [name for name in taken.unread if Path(name).exists() or Path(name).is_symlink()]
        if same and not unread:
            return taken, said, problem
        first.drop(taken.id)
        if same:
            raise _cannot_read(unread, first)
        print_waiting("a stage was replaced meanwhile: the snapshot is taken again")
    raise SnnFusionError(f"{origin.ws.root} did not come to rest in {ATTEMPTS} attempts: back it up between two runs")


def _cannot_read(unread: list[str], first: Repository) -> SnnFusionError:
    """What is wrong where restic could not read something: a file here, or what the place has of it already."""
    closed = [name for name in unread if not os.access(name, os.R_OK)]
    if closed:
        remedy = "run the backup as a user who may read it, or mend its permissions"
        return BadInput(closed[0], f"cannot be read, nor can {len(closed) - 1} others", remedy)
    try:
        first.verify(None, 1)
    except Damaged as error:
        return error
    return SnnFusionError(f"{unread[0]}: cannot be read, nor can {len(unread) - 1} others")


def _observed(params: Params, origin: Origin) -> tuple[observed.Observed | None, str]:
    """What is wrong with the installation does not keep it from being backed up."""
    try:
        return observed.observe(params, origin.ws.root, restored=False), ""
    except SnnFusionError as error:
        return None, str(error)


def _write_manifest(
    origin: Origin,
    staged: list[str],
    said: observed.Observed | None,
    cluster: Cluster | None,
    point: Point | None,
    sizes: dict[str, int],
) -> None:
    postgres = None
    if cluster and point:
        postgres = {"version": cluster.version(), "point": point.name, "lsn": point.lsn, "timeline": point.timeline}
    content = {
        "schema": SCHEMA,
        "root": str(origin.ws.root),
        "artefacts": str(origin.artefacts) if origin.artefacts else None,
        "configuration": [str(path) for path in origin.configuration],
        "databases": staged,
        "bytes": sizes,
        "versions": {name: installed(name) for name in ("mlflow", "apache-airflow")},
        "server": on_server(),
        "postgres": postgres,
        "expected": said,
    }
    write_atomic(origin.ws.path(sources.STAGING, sources.MANIFEST), json.dumps(content, indent=1))


def installed(name: str) -> str | None:
    """The version of a library here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _left_out(origin: Origin) -> list[str]:
    """Patterns outside of the workspace: the password itself, and what a restore has moved aside."""
    beside = [origin.artefacts / name for name in (RESTORING, REPLACED)] if origin.artefacts else []
    return [literal(path) for path in (origin.secret, origin.secret.resolve(), *beside)]


def _check_disk(origin: Origin, looked: list[places.Place]) -> dict[str, int]:
    """Bytes of each folder. Raises BadInput if what is new does not fit on the disk of a place."""
    totals: dict[str, int] = {}
    for one in looked:
        since, new = one.newest.time if one.newest else None, 0
        for path in origin.paths:
            totals[str(path)], changed = sources.sizes(origin.ws, path, since)
            new += changed
        if is_folder(one.repository.place):
            tools.check_space(Path(one.repository.place), new, "the backup")
    return totals
