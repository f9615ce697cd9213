"""From a place of backups into empty folders: the newest whole backup up to a moment, checked before it is used.

What cannot be read, or is not what was backed up, is named, and the one before is taken.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from snn_fusion.backup import observed, sources, tools
from snn_fusion.backup.cluster import Cluster, lsn_position
from snn_fusion.backup.database import restored_cluster
from snn_fusion.backup.make import SCHEMA, installed
from snn_fusion.backup.recovery import programs
from snn_fusion.backup.registry_server import registry_server
from snn_fusion.backup.restic import Repository, Snapshot
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.tracking import URI
from snn_fusion.workspace import remove_tree

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Folders to restore into, which are emptied first. `archive`: PostgreSQL's log is kept from there on."""

    folder: Path  # gets workspace/ and configuration/
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
class Extracted:
    """What was restored: which snapshot, its manifest, what was observed in it, where PostgreSQL is from, and which
    other backups are damaged.
    """

    snapshot: Snapshot
    place: str
    manifest: Manifest
    found: observed.Observed | None
    database: str | None
    damaged: list[str] = field(default_factory=list)


def extract_newest(
    params: Params,
    repositories: Sequence[Repository],
    target: Target,
    cluster: Cluster | None,
    at: datetime | None = None,
    whole_only: bool = False,
) -> Extracted:
    """Restore the newest backup of `at` or before (None: of all) that can be restored, into the target's folders.

    `whole_only`: leave out the snapshots between two whole backups, for which nothing was observed. Raises BadInput if
    there is none, this installation cannot take it, or a disk is too small; SnnFusionError if all are damaged.
    """
    damaged: list[str] = []
    readable_to: dict[str | None, str] = {}  # by PostgreSQL's timeline, the position at which its log is damaged
    for repository, snapshot in candidates(repositories, at, whole_only, damaged):
        timeline = snapshot.tag("timeline")
        if timeline in readable_to and lsn_position(snapshot.tag("lsn")) > lsn_position(readable_to[timeline]):
            continue
        try:
            target.clear()
            return _extract(params, repository, snapshot, target, cluster, damaged)
        except Damaged as error:
            if error.reached:
                readable_to[timeline] = error.reached
            text = f"backup {snapshot} in {repository} is damaged ({error}); the one before is taken"
            tools.report(damaged, text)
    target.clear()
    raise SnnFusionError("no backup can be restored:\n" + "\n".join(damaged))


def candidates(
    repositories: Sequence[Repository], at: datetime | None, whole_only: bool, damaged: list[str]
) -> list[tuple[Repository, Snapshot]]:
    """Snapshots of all places up to a moment, the newest first. Raises BadInput if there is none."""
    pairs: list[tuple[Repository, Snapshot]] = []
    for repository in repositories:
        try:
            snapshots, unreadable = repository.snapshots()
        except Damaged as error:
            tools.report(damaged, f"{error}: nothing there can be read (restic rebuild-index may repair it)")
            continue
        for message in unreadable:
            tools.report(damaged, f"{repository}: {message}; the one before is taken")
        pairs += [(repository, snapshot) for snapshot in snapshots if snapshot.whole or not whole_only]
    if not pairs:
        raise BadInput(repositories[0], "holds no backup that can be read; " + "; ".join(damaged), "name another place")
    oldest = min(snapshot.time for _, snapshot in pairs)
    pairs = [(repository, snapshot) for repository, snapshot in pairs if at is None or snapshot.time <= at]
    if not pairs:
        raise BadInput("--at", f"the oldest backup is of {oldest.isoformat(timespec='seconds')}", "name a later moment")
    return sorted(pairs, key=lambda pair: pair[1].time, reverse=True)  # stable: of two copies the first place's


def _extract(
    params: Params,
    repository: Repository,
    snapshot: Snapshot,
    target: Target,
    cluster: Cluster | None,
    damaged: list[str],
) -> Extracted:
    manifest = _read_manifest(repository, snapshot)
    _check_versions(manifest, cluster)
    _check_space(manifest, target)
    _restore_files(repository, snapshot, manifest, target)
    with contextlib.ExitStack() as stack:
        registry_url, database = "", None  # without a URL: the registry in the workspace
        if cluster and target.data and manifest["postgres"]:
            restored = _restored_database(cluster, target, manifest, snapshot, damaged)
            database, socket = stack.enter_context(restored)
            if manifest["server"]:
                folder = target.artefacts or target.folder / "artefacts"
                registry_url = stack.enter_context(registry_server(socket, folder))
        found = None
        if registry_url or not manifest["server"]:
            found = observed.observe(params, target.workspace, restored=True, env={URI: registry_url})
            if manifest["expected"] and (different := observed.differences(manifest["expected"], found)):
                raise Damaged("it is not what was backed up: " + "; ".join(different))
    return Extracted(snapshot, str(repository), manifest, found, database, damaged)


def _read_manifest(repository: Repository, snapshot: Snapshot) -> Manifest:
    root = unquote(snapshot.tag("root") or "")
    text = repository.content(snapshot, f"{root}/{sources.STAGING}/{sources.MANIFEST}")
    manifest: Manifest = json.loads(text)
    if manifest["schema"] != SCHEMA:
        problem = f"has schema {manifest['schema']}, and here is {SCHEMA}"
        raise BadInput(f"backup {snapshot}", problem, "restore it with the version of SNN-Fusion that made it")
    return manifest


def _check_versions(manifest: Manifest, cluster: Cluster | None) -> None:
    """Raises BadInput if the databases are of later versions than the programs here, or of another PostgreSQL."""
    for name, version in manifest["versions"].items():
        here = installed(name)
        if version and here and _release(version) > _release(here):
            remedy = "restore it with the version of SNN-Fusion that made it, and upgrade then"
            raise BadInput(name, f"the backup's database is of version {version}, and here is {here}", remedy)
    if manifest["postgres"] and cluster:
        programs(manifest["postgres"]["version"])


def _release(version: str) -> list[int]:
    """Major and minor number."""
    return [int(part) for part in re.findall(r"\d+", version)[:2]]


def _check_space(manifest: Manifest, target: Target) -> None:
    """Raises BadInput if a disk is too small."""
    sizes = dict(manifest["bytes"])
    if target.artefacts:
        tools.check_space(target.artefacts, sizes.pop(manifest["artefacts"], 0), "the restore of the artefacts")
    tools.check_space(target.folder, sum(sizes.values()), "the restore")


def _restore_files(repository: Repository, snapshot: Snapshot, manifest: Manifest, target: Target) -> None:
    """Workspace, configuration and artefacts into their folders."""
    files, artefacts = target.folder / "files", manifest["artefacts"]
    files.mkdir(parents=True)
    apart = bool(artefacts and target.artefacts)  # they have a folder of their own, maybe on another disk
    repository.restore(snapshot, files, skip=[artefacts] if apart else [])
    (files / manifest["root"].lstrip("/")).rename(target.workspace)
    if apart:
        assert target.artefacts
        target.artefacts.mkdir(parents=True)
        repository.restore(snapshot, target.artefacts, include=[artefacts])
        _lift(target.artefacts / artefacts.lstrip("/"), target.artefacts)
    elif artefacts:
        (files / artefacts.lstrip("/")).rename(target.folder / "artefacts")
    _remove_empty(files)
    if files.exists():
        files.rename(target.configuration)
    sources.put_databases_in_place(target.workspace)


def _remove_empty(folder: Path) -> None:
    """Remove the folders that only led to what has been moved out of them."""
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()


def _lift(inner: Path, folder: Path) -> None:
    """Replace `folder` by the folder `inner`, which lies in it."""
    aside = folder.with_name(folder.name + ".lifted")
    remove_tree(aside)
    inner.rename(aside)
    remove_tree(folder)
    aside.rename(folder)


def _restored_database(
    cluster: Cluster, target: Target, manifest: Manifest, snapshot: Snapshot, damaged: list[str]
) -> contextlib.AbstractContextManager[tuple[str, Path]]:
    """The cluster at the snapshot's restore point, running for this process: see `restored_cluster`."""
    assert target.data
    point = manifest["postgres"]
    options = ["--type=name", f"--target={point['point']}", "--target-action=promote"]
    version, timeline = point["version"], point["timeline"]
    sets = cluster.sets_leading_to(cluster.info(), snapshot.time, timeline)
    return restored_cluster(cluster, sets, version, target.data, timeline, options, target.archive, damaged)
