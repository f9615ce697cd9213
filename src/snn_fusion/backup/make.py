"""`snn-fusion backup`: take a snapshot of one moment, copy it to a second place, remove old ones, read the rest."""

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
from snn_fusion.backup.cluster import Cluster, RestorePoint, StanzaInfo
from snn_fusion.backup.password import default_password_file
from snn_fusion.backup.restic import NewSnapshot, Repository, literal
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
PARTS = 30  # of a larger one, of which each day another is read back
WRITTEN_BY_HAND = ("params.yaml", "dvc-options.yaml", "dvc.lock", "keys", ".dvc/config", ".dvc/config.local")


@dataclass(frozen=True)
class Source:
    """What is backed up: a workspace and, where there are such, an MLflow server's artefacts, configuration and
    PostgreSQL.
    """

    ws: Workspace
    artefacts: Path | None
    configuration: tuple[Path, ...]
    cluster: Cluster | None
    secret: Path  # the password's file, which is never part of what it encrypts

    @property
    def paths(self) -> list[Path]:
        return [self.ws.root, *filter(None, [self.artefacts]), *self.configuration]


@dataclass(frozen=True)
class Observation:
    """What the installation was when it was backed up, or the problem that it has."""

    observed: observed.Observed | None = None
    problem: str = ""

    @property
    def champion(self) -> str | None:
        return ((self.observed or {}).get("champion") or {}).get("version")


def backup(params: Params, ws: Workspace, settings: Settings, quick: bool = False) -> dict[str, Any]:
    """Back the installation up; `quick`: a snapshot only, with nothing removed or read back.

    Raises BadInput, before anything is changed, for a place, password, database or disk that cannot be used;
    SnnFusionError if the backup cannot be relied on, or the installation has a problem. How it ended is noted in
    backups/state.json.
    """
    what = "snapshot" if quick else "backup"
    if not ws.root.is_dir():
        raise BadInput(ws.root, "there is no workspace to back up", "set SNN_FUSION_HOME, or run `snn-fusion import`")
    with disk_errors(ws.root):
        ws.path("backups").mkdir(exist_ok=True)
    with ws.lock(what, "backups/.lock"), disk_errors(ws.root):
        try:
            result, problem = _backup(params, ws, settings, quick)
        except SnnFusionError as error:
            state.note(ws, what, ok=False, error=str(error), bytes=0, verified=False)
            raise
        finally:
            remove_tree(ws.path(sources.STAGING))
        state.note(ws, what, ok=not problem, error=problem, bytes=result["bytes"], verified=not quick)
    if problem:
        raise SnnFusionError(f"the backup {result['snapshot']} is whole, but the installation is not: {problem}")
    return result


def _backup(params: Params, ws: Workspace, settings: Settings, quick: bool) -> tuple[dict[str, Any], str]:
    """The result, and what is wrong with the installation, which does not keep it from being backed up."""
    tools.require_programs("restic", *(("pgbackrest", "psql") if settings.stanza else ()))
    inspected, now = places.inspect_places(ws, settings), datetime.now(UTC)
    cluster = Cluster(settings.stanza) if settings.stanza else None
    password = inspected[0].repository.password
    source = Source(ws, settings.artefacts, configuration(ws, settings), cluster, password)
    sizes = _check_disk(source, inspected)
    info = cluster.checked_info() if cluster else None
    repositories = places.open_repositories(ws, inspected)
    first = repositories[0]
    if cluster and info:
        info = _back_up_cluster(cluster, info, now, quick)
    newest = inspected[0].newest
    snapshot, observation = _snapshot(params, source, first, quick, sizes, newest.id if newest else None)
    result = {
        "snapshot": snapshot.id,
        "place": str(first),
        "bytes": snapshot.bytes + (info.sets[-1].bytes if info and info.sets else 0),
        "new_bytes": snapshot.added,
        "champion": observation.champion,
    }
    for repository in repositories[1:]:
        repository.copy_from(first)
    if quick:
        return result, observation.problem
    if cluster and info:
        cluster.verify(info)
    for repository in repositories:
        repository.prune(settings.keep_days)
        verify(repository, now)
    kept, _ = first.snapshots()
    result |= {"verified": True, "kept": len(kept), "oldest": kept[0].time.isoformat(timespec="seconds")}
    if settings.second:
        result["second"] = str(repositories[1])
    if password == default_password_file():
        result["password"] = f"{password} (keep a copy of it elsewhere)"
    return result, observation.problem


def _back_up_cluster(cluster: Cluster, info: StanzaInfo, now: datetime, quick: bool) -> StanzaInfo:
    info = cluster.create_repositories(info)
    if quick:
        return info
    cluster.backup(info, now)
    return cluster.info()


def verify(repository: Repository, now: datetime) -> None:
    """Read a repository back: all of a small one, of a larger one each day another part. Raises Damaged."""
    size = repository.size_on_disk()
    repository.verify(None if size is not None and size <= SMALL else now.toordinal() % PARTS + 1, PARTS)


def configuration(ws: Workspace, settings: Settings) -> tuple[Path, ...]:
    """What was written by hand and lies outside of the workspace: as the settings name it, else the checkout's."""
    if settings.configuration:
        return settings.configuration
    paths = (project_root() / name for name in WRITTEN_BY_HAND)
    return tuple(path for path in paths if path.exists() and not path.is_relative_to(ws.root))


def _snapshot(
    params: Params, source: Source, first: Repository, quick: bool, sizes: dict[str, int], parent: str | None
) -> tuple[NewSnapshot, Observation]:
    """A snapshot during which nothing that belongs together was replaced.

    Raises SnnFusionError if files cannot be read, or stages are replaced during each attempt.
    """
    torn: str | None = None  # the snapshot of the attempt before
    for _ in range(ATTEMPTS):
        before = sources.fingerprint(source.ws)
        observation = Observation() if quick else _observe(params, source)
        name = f"snn-fusion-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        copied = sources.copy_databases(source.ws)
        point = source.cluster.create_restore_point(name) if source.cluster else None
        _write_manifest(source, copied, observation, point, sizes)
        tags = ["quick" if quick else "whole", f"root:{quote(str(source.ws.root))}"]
        tags += [f"lsn:{point.lsn}", f"timeline:{point.timeline}"] if point else []
        excluded = [*sources.exclude_patterns(source.ws, copied), *_excluded_elsewhere(source)]
        snapshot = first.take_snapshot(source.paths, excluded, tags, torn or parent)
        if torn:
            first.forget(torn)
        same = sources.fingerprint(source.ws) == before
        unread = [name for name in snapshot.unread if Path(name).exists() or Path(name).is_symlink()]
        if same and not unread:
            return snapshot, observation
        if same:
            first.forget(snapshot.id)
            raise _cannot_read(unread, first)
        torn = snapshot.id
        print_waiting("a stage was replaced meanwhile: the snapshot is taken again")
    first.forget(snapshot.id)
    problem = f"stages were replaced during each of {ATTEMPTS} attempts: back it up between two runs"
    raise SnnFusionError(f"{source.ws.root}: {problem}")


def _cannot_read(unread: list[str], first: Repository) -> SnnFusionError:
    """Why restic could not read something: a file's permissions, or damage to what the place already holds of it."""
    forbidden = [name for name in unread if not os.access(name, os.R_OK)]
    if forbidden:
        remedy = "run the backup as a user who may read it, or correct its permissions"
        return BadInput(forbidden[0], f"cannot be read, nor can {len(forbidden) - 1} others", remedy)
    try:
        first.verify(None, 1)
    except Damaged as error:
        return error
    return SnnFusionError(f"{unread[0]}: cannot be read, nor can {len(unread) - 1} others")


def _observe(params: Params, source: Source) -> Observation:
    try:
        return Observation(observed.observe(params, source.ws.root, restored=False))
    except SnnFusionError as error:
        return Observation(problem=str(error))


def _write_manifest(
    source: Source, copied: list[str], observation: Observation, point: RestorePoint | None, sizes: dict[str, int]
) -> None:
    postgres = None
    if source.cluster and point:
        postgres = {
            "version": source.cluster.version(),
            "point": point.name,
            "lsn": point.lsn,
            "timeline": point.timeline,
        }
    content = {
        "schema": SCHEMA,
        "root": str(source.ws.root),
        "artefacts": str(source.artefacts) if source.artefacts else None,
        "configuration": [str(path) for path in source.configuration],
        "databases": copied,
        "bytes": sizes,
        "versions": {name: installed(name) for name in ("mlflow", "apache-airflow")},
        "server": on_server(),
        "postgres": postgres,
        "expected": observation.observed,
    }
    write_atomic(source.ws.path(sources.STAGING, sources.MANIFEST), json.dumps(content, indent=1))


def installed(name: str) -> str | None:
    """The version of a library here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _excluded_elsewhere(source: Source) -> list[str]:
    """Patterns outside of the workspace: the password, wherever it lies, and what a restore has moved aside."""
    moved = [source.artefacts / name for name in (RESTORING, REPLACED)] if source.artefacts else []
    secrets = [source.secret, source.secret.resolve()]
    for folder in source.configuration:
        secrets += [path for path in folder.rglob(source.secret.name) if path.samefile(source.secret)]
    return [literal(path) for path in (*secrets, *moved)]


def _check_disk(source: Source, inspected: list[places.Place]) -> dict[str, int]:
    """Bytes of each folder. Raises BadInput if what is new does not fit on the disk of a place."""
    totals: dict[str, int] = {}
    for place in inspected:
        since, new = place.newest.time if place.newest else None, 0
        for path in source.paths:
            totals[str(path)], changed = sources.sizes(source.ws, path, since)
            new += changed
        if is_folder(place.repository.place):
            tools.check_space(Path(place.repository.place), new, "the backup")
    return totals
