"""From a place of backups into empty folders: the newest whole backup up to a moment, looked at before it is used.

What cannot be read, or is not what was backed up, is named, and the one before is taken.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from snn_fusion.backup import observed, sources, tools
from snn_fusion.backup.cluster import Cluster, Set, place_of
from snn_fusion.backup.make import SCHEMA, installed
from snn_fusion.backup.recovery import programs, recovered
from snn_fusion.backup.registry_server import registry_server
from snn_fusion.backup.restic import Repository, Snapshot
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.tracking import URI
from snn_fusion.workspace import print_waiting, remove_tree

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Folders to restore into, which are emptied first. `archive`: PostgreSQL's log is kept from there on."""

    folder: Path  # workspace/ and configuration/ are made in it
    artefacts: Path | None = None
    data: Path | None = None
    archive: bool = False

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def configuration(self) -> Path:
        return self.folder / "configuration"

    def clear(self) -> None:
        for path in filter(None, (self.folder, self.artefacts, self.data)):
            remove_tree(path)


@dataclass(frozen=True)
class Brought:
    """What was brought back: which backup, what it said of itself, what was found in it, which others are damaged."""

    snapshot: Snapshot
    place: str
    manifest: Manifest
    found: observed.Observed | None
    database: str | None
    damaged: list[str] = field(default_factory=list)


def bring_back(
    params: Params,
    repositories: Sequence[Repository],
    target: Target,
    cluster: Cluster | None,
    at: datetime | None = None,
    whole_only: bool = False,
) -> Brought:
    """Restore the newest backup of `at` or before (None: of all) that can be, into the target's folders.

    `whole_only`: one that says what was observed, not a snapshot between two of those. Raises BadInput if there is
    none, this installation cannot take it, or a disk is too small; SnnFusionError if all are damaged.
    """
    damaged: list[str] = []
    reached: dict[str | None, str] = {}  # by PostgreSQL's history, how far its log can be read
    found = candidates(repositories, at, whole_only, damaged)
    for repository, snapshot in found:
        history = snapshot.tag("timeline")
        if history in reached and place_of(snapshot.tag("lsn")) > place_of(reached[history]):
            continue  # beyond where the archived log is damaged
        try:
            target.clear()
            return _one(params, repository, snapshot, target, cluster, damaged)
        except Damaged as error:
            reached |= {history: error.reached} if error.reached else {}
            _note(damaged, f"backup {snapshot} in {repository} is damaged ({error}); the one before is taken")
    target.clear()
    raise SnnFusionError("no backup can be restored:\n" + "\n".join(damaged))


def candidates(
    repositories: Sequence[Repository], at: datetime | None, whole_only: bool, damaged: list[str]
) -> list[tuple[Repository, Snapshot]]:
    """Snapshots of all places up to a moment, the newest first. Raises BadInput if there is none."""
    found: list[tuple[Repository, Snapshot]] = []
    for one in repositories:
        try:
            snapshots, unreadable = one.snapshots()
        except Damaged as error:
            _note(damaged, f"{error}: nothing there can be read (restic rebuild-index may mend it)")
            continue
        for said in unreadable:
            _note(damaged, f"{one}: {said}; the one before is taken")
        found += [(one, snapshot) for snapshot in snapshots if snapshot.whole or not whole_only]
    if not found:
        raise BadInput(repositories[0], "holds no backup that can be read; " + "; ".join(damaged), "name another place")
    oldest = min(snapshot.time for _, snapshot in found)
    found = [(one, snapshot) for one, snapshot in found if at is None or snapshot.time <= at]
    if not found:
        raise BadInput("--at", f"the oldest backup is of {oldest.isoformat(timespec='seconds')}", "name a later moment")
    return sorted(found, key=lambda pair: pair[1].time, reverse=True)  # stable: of two copies the first place's


def _one(
    params: Params,
    repository: Repository,
    snapshot: Snapshot,
    target: Target,
    cluster: Cluster | None,
    damaged: list[str],
) -> Brought:
    root = unquote(snapshot.tag("root") or "")
    manifest = _manifest(repository, snapshot, root)
    _check_versions(manifest, cluster)
    _check_space(manifest, target)
    _files(repository, snapshot, manifest, target)
    with contextlib.ExitStack() as stack:
        env = {URI: ""}  # the registry in the workspace
        database = None
        if cluster and target.data and manifest["postgres"]:
            database, socket = stack.enter_context(_database(cluster, target, manifest, snapshot, damaged))
            if manifest["server"]:
                folder = target.artefacts or target.folder / "artefacts"
                env = {URI: stack.enter_context(registry_server(socket, folder))}
        found = None
        if env[URI] or not manifest["server"]:
            found = observed.observe(params, target.workspace, restored=True, env=env)
            if manifest["expected"] and (said := observed.differences(manifest["expected"], found)):
                raise Damaged("it is not what was backed up: " + "; ".join(said))
    return Brought(snapshot, str(repository), manifest, found, database, damaged)


def _manifest(repository: Repository, snapshot: Snapshot, root: str) -> Manifest:
    text = repository.content(snapshot, f"{root}/{sources.STAGING}/{sources.MANIFEST}")
    manifest: Manifest = json.loads(text)
    if manifest["schema"] != SCHEMA:
        problem = f"has schema {manifest['schema']}, and here is {SCHEMA}"
        raise BadInput(f"backup {snapshot}", problem, "restore it with the version of SNN-Fusion that made it")
    return manifest


def _check_versions(manifest: Manifest, cluster: Cluster | None) -> None:
    """Raises BadInput if the databases are of later versions than the programs here, or of another PostgreSQL."""
    for name, made in manifest["versions"].items():
        here = installed(name)
        if made and here and _release(made) > _release(here):
            remedy = "restore it with the version of SNN-Fusion that made it, and upgrade then"
            raise BadInput(name, f"the backup's database is of version {made}, and here is {here}", remedy)
    if manifest["postgres"] and cluster:
        programs(manifest["postgres"]["version"])


def _check_space(manifest: Manifest, target: Target) -> None:
    """Raises BadInput if a disk is too small."""
    sizes = dict(manifest["bytes"])
    if target.artefacts:
        tools.check_space(target.artefacts, sizes.pop(manifest["artefacts"], 0), "the restore of the artefacts")
    tools.check_space(target.folder, sum(sizes.values()), "the restore")


def _release(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)[:2]]


def _files(repository: Repository, snapshot: Snapshot, manifest: Manifest, target: Target) -> None:
    """Workspace, configuration and artefacts into their folders."""
    raw, artefacts = target.folder / "files", manifest["artefacts"]
    raw.mkdir(parents=True)
    apart = bool(artefacts and target.artefacts)
    repository.restore(snapshot, raw, skip=[artefacts] if apart else [])
    (raw / manifest["root"].lstrip("/")).rename(target.workspace)
    if apart:
        assert target.artefacts
        target.artefacts.mkdir(parents=True)
        repository.restore(snapshot, target.artefacts, include=[artefacts])
        _lift(target.artefacts / artefacts.lstrip("/"), target.artefacts)
    elif artefacts:
        (raw / artefacts.lstrip("/")).rename(target.folder / "artefacts")
    _remove_empty(raw)
    if raw.exists():
        raw.rename(target.configuration)
    sources.put_databases(target.workspace)


def _remove_empty(folder: Path) -> None:
    """Folders that only led to what has been moved from them."""
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()


def _lift(inner: Path, folder: Path) -> None:
    """Make the content of `inner` that of the folder which it lies in."""
    aside = folder.with_name(folder.name + ".lifted")
    remove_tree(aside)
    inner.rename(aside)
    remove_tree(folder)
    aside.rename(folder)


@contextlib.contextmanager
def _database(
    cluster: Cluster, target: Target, manifest: Manifest, snapshot: Snapshot, damaged: list[str]
) -> Iterator[tuple[str, Path]]:
    """The cluster at the snapshot's moment, running for us: which backup it is from, and the folder of its socket."""
    assert target.data
    told = manifest["postgres"]
    options = ["--type=name", f"--target={told['point']}", f"--target-timeline={told['timeline']}"]
    options.append("--target-action=promote")
    archive = archive_command(cluster, target.data) if target.archive else None
    sets = cluster.usable(cluster.known(), snapshot.time, told["timeline"])
    for one in sets:
        with contextlib.ExitStack() as stack:
            try:
                put_back(cluster, one, target.data, options, archive is not None)
                socket = stack.enter_context(recovered(target.data, told["version"], cluster.owner, archive))
            except Damaged as error:
                if error.reached:
                    raise  # the log, and no earlier backup leads past it
                _note(damaged, f"{error}; the one before is taken")
                continue
            yield f"{one.label}, repository {one.repo}", socket
            return
    raise Damaged("no backup of PostgreSQL from before it can be read")


def put_back(cluster: Cluster, one: Set, data: Path, options: Sequence[str], archive: bool) -> None:
    """One of pgBackRest's backups into the folder `data`, which is emptied first. Raises Damaged, BadInput."""
    remove_tree(data)
    cluster.owner.make(data)
    tools.check_space(data, one.bytes, "PostgreSQL's restore")
    cluster.restore(one, data, options, archive)


def archive_command(cluster: Cluster, data: Path) -> str:
    """For a cluster that runs in another folder than pgBackRest's configuration says."""
    return f'pgbackrest --stanza={cluster.stanza} --pg1-path="{data}" archive-push %p'


def _note(damaged: list[str], text: str) -> None:
    damaged.append(text)
    print_waiting(text)
