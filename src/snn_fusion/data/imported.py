"""What is imported: source folders that never change, and the files beside them that say which of these are current.

A source that is imported again lies in a new folder, and the older one stays for as long as `validated/` names its
files: a run goes on with the recordings that it began with, and an import waits for no run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from snn_fusion.data.manifest import Row, read_manifest, write_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.errors import BadInput
from snn_fusion.workspace import STAMP, Workspace, digest, disk_errors, remove_tree, write_atomic

STAGE = "recordings"
MANIFEST = "manifest.parquet"
QUARANTINE = "quarantine.json"
SOURCES = "sources.json"
FILES = (MANIFEST, QUARANTINE, SOURCES, STAMP)
LOCK = ".lock.recordings"  # taken for moments: while FILES are read or replaced
SWITCH = ".switch"  # within recordings/: the next FILES, whole
SNAPSHOT = "imported"  # within validated/: FILES of the sources that it used
OUTDATED = "recordings."  # within .old/: what is being removed

Damage = dict[str, str]  # source, path, reason


@dataclass(frozen=True)
class Imported:
    """Imported sources. Paths of rows are relative to recordings/; `inputs`: a digest of each one's content."""

    rows: tuple[Row, ...]
    quarantine: tuple[Damage, ...]
    origins: Mapping[str, dict[str, Any]]
    inputs: Mapping[str, str]

    def only(self, sources: Collection[str]) -> Imported:
        """These sources alone."""
        return Imported(
            tuple(row for row in self.rows if row.source in sources),
            tuple(one for one in self.quarantine if one["source"] in sources),
            {name: self.origins[name] for name in self.origins if name in sources},
            {key: self.inputs[key] for key in self.inputs if key.removeprefix("source:") in {*sources, "schema"}},
        )

    @property
    def digest(self) -> str:
        """Of the content of all sources; where they lie does not matter."""
        return digest(dict(self.inputs))

    @property
    def folders(self) -> dict[str, str]:
        """Each source's folder within recordings/."""
        return {row.source: folder_of(ref.path) for row in self.rows for ref in row.senses.values()}


NOTHING = Imported((), (), {}, {})


def folder_of(path: str) -> str:
    return path.partition("/")[0]


def read_imported(ws: Workspace) -> Imported:
    """What is imported now; nothing if there was no import. Raises BadInput if recordings/ is damaged."""
    folder = ws.path(STAGE)
    if not folder.exists() and not ws.path(".old", STAGE).exists():
        return NOTHING
    with ws.lock("reading what is imported", LOCK):
        ws.settle(STAGE)
        _finish(folder)
        return read_files(folder)


def read_files(folder: Path) -> Imported:
    """What the FILES of a folder say: of recordings/, or of a snapshot. Raises BadInput if they are damaged."""
    if not (folder / STAMP).exists():
        return NOTHING
    remedy = f"remove {folder} and import again"
    try:
        aside = json.loads((folder / QUARANTINE).read_text())
        quarantine = tuple({key: str(one[key]) for key in ("source", "path", "reason")} for one in aside)
        origins = json.loads((folder / SOURCES).read_text())
        inputs = json.loads((folder / STAMP).read_text())["inputs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(folder, f"damaged: {error!r}", remedy) from None
    return Imported(tuple(read_manifest(folder / MANIFEST)), quarantine, origins, inputs)


def check_there(ws: Workspace, imported: Imported) -> None:
    """Raises BadInput naming a source whose folder is gone."""
    folder = ws.path(STAGE)
    missing = [one for name, one in sorted(imported.folders.items()) if not (folder / one).is_dir()]
    if missing:
        raise BadInput(folder, f"damaged: no folder {missing[0]}", f"remove {folder} and import again")


def check_pinned(ws: Workspace) -> None:
    """Raises BadInput if a source folder that the validated recordings lie in is gone."""
    pinned = _folders_in(ws.path("validated", "recordings.parquet"))
    if missing := sorted(one for one in pinned if not ws.path(STAGE, one).is_dir()):
        remedy = "import it again, and run the stages from `validate` to `register`"
        raise BadInput(ws.path(STAGE, missing[0]), "no such folder, though the network was trained on it", remedy)


def write_files(folder: Path, imported: Imported, result: Mapping[str, Any]) -> None:
    """Write FILES into a new folder."""
    write_manifest(folder / MANIFEST, imported.rows)
    write_atomic(folder / QUARANTINE, json.dumps(imported.quarantine, indent=1))
    write_atomic(folder / SOURCES, json.dumps(imported.origins, indent=1, sort_keys=True))
    stamp = {"inputs": dict(imported.inputs), "digest": imported.digest, "result": dict(result)}
    write_atomic(folder / STAMP, json.dumps(stamp, indent=1))


def switch(ws: Workspace, building: Path, imported: Imported, result: Mapping[str, Any]) -> None:
    """Put the source folders in `building` beside the others and make `imported` what is imported.

    All of it, or nothing: a kill at any moment leaves what was imported before, or what is imported now.
    """
    folder, new = ws.path(STAGE), building / SWITCH
    with disk_errors(folder):
        write_files(new, imported, result)
    with ws.lock("import", LOCK), disk_errors(folder):
        folder.mkdir(exist_ok=True)
        for one in building.iterdir():
            if one != new:
                one.rename(folder / one.name)
        new.rename(folder / SWITCH)  # from here on it holds; after a kill, the next reader does the rest
        _finish(folder)


def _finish(folder: Path) -> None:
    """Replace FILES by those of a switch that was begun; needs the lock."""
    new = folder / SWITCH
    if new.is_dir():
        for name in FILES:
            if (new / name).exists():
                (new / name).replace(folder / name)
        remove_tree(new)


def collect(ws: Workspace) -> None:
    """Remove the source folders that neither the last import nor `validated/` names.

    Does nothing while a stage is at work, since it may still read them.
    """
    at_work, folder = FileLock(ws.path(".lock")), ws.path(STAGE)
    if not folder.is_dir():
        return
    try:
        at_work.acquire(timeout=0)
    except Timeout:
        return
    try:
        with disk_errors(folder):
            _collect(ws, folder)
    finally:
        at_work.release()


def _collect(ws: Workspace, folder: Path) -> None:
    with ws.lock("import", LOCK):
        _finish(folder)
        kept = {SWITCH, *_folders_in(folder / MANIFEST), *_folders_in(ws.path("validated", "recordings.parquet"))}
    ws.path(".old").mkdir(exist_ok=True)
    for one in folder.iterdir():
        if one.is_dir() and one.name not in kept:
            one.rename(ws.path(".old", OUTDATED + one.name))  # at once: half a folder must not pass for a whole one
    for leftover in ws.path(".old").glob(OUTDATED + "*"):
        remove_tree(leftover)


def _folders_in(manifest: Path) -> set[str]:
    """The source folders that the rows of a manifest lie in."""
    if not manifest.exists():
        return set()
    with pq.ParquetFile(manifest) as file:
        table = file.read(columns=[f"{sense}_path" for sense in SENSES])
    return {folder_of(path) for column in table.columns for path in column.to_pylist() if path is not None}


def lay_out(ws: Workspace, snapshot: Path, place: Workspace) -> None:
    """Give the workspace `place` the imported sources that FILES in `snapshot` name, as links to those in `ws`."""
    imported, shared = read_files(snapshot), place.path(STAGE)
    check_there(ws, imported)
    remove_tree(shared)
    shared.mkdir(parents=True)
    for name in imported.folders.values():
        target = ws.path(STAGE, name)
        (shared / name).symlink_to(os.path.relpath(target, shared), target_is_directory=True)
    write_files(shared, imported, {})


def make_current(ws: Workspace, snapshot: Path) -> None:
    """Make the sources that FILES in `snapshot` name what is imported, if there is a snapshot."""
    if snapshot.is_dir():
        for name in FILES:
            write_atomic(ws.path(STAGE, name), (snapshot / name).read_bytes())
