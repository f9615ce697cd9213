"""The import stage: sources in, one folder with their files, a recordings.csv each, and the manifest of all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.data.dataset import SYNTHETIC, select_sources, stands_in
from snn_fusion.data.fetch import Source, fetch, say, warn_synthetic
from snn_fusion.data.folder import check_contents, is_source, list_source, sets_of, with_checksums
from snn_fusion.data.manifest import Row, read_manifest, write_manifest
from snn_fusion.data.public import PUBLIC_SETS
from snn_fusion.data.readers import split_member
from snn_fusion.data.summary import remarks_of, splits_of
from snn_fusion.data.table import NAME, write_table
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.workspace import STAMP, Workspace, digest, disk_errors, remove_tree, write_atomic

STAGE = "recordings"
MANIFEST = "manifest.parquet"
QUARANTINE = "quarantine.json"
SOURCES = "sources.json"
SCHEMA = 1  # of what this stage writes
BLOCK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Damage = dict[str, str]  # source, path, reason


@dataclass(frozen=True)
class Imported:
    """What the recordings folder holds; paths of rows begin with their source's name."""

    rows: tuple[Row, ...]
    quarantine: tuple[Damage, ...]
    origins: Mapping[str, dict[str, Any]]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """One source, read: its good rows (paths relative to source.root) and what is set aside."""

    source: Source
    rows: tuple[Row, ...]
    quarantine: tuple[Damage, ...]
    origin: dict[str, Any]

    @property
    def digest(self) -> str:
        return digest([_plain(row) for row in self.rows], self.quarantine, self.origin)


def import_recordings(
    params: Params, ws: Workspace, *, source: Path | None = None, name: str | None = None, quarantine: bool = False
) -> dict[str, Any]:
    """Import a folder, or every source in `data.sources` that is missing; other sources stay as they are.

    Returns counts. Raises BadRecordings listing every damaged file, unless `quarantine` sets them aside, and BadInput;
    nothing changes then. A second import waits for the first.
    """
    with ws.lock("import", ".import.lock"):
        result = _import(params, ws, source, name, quarantine)
        imported = _read(ws)
    there = {row.source for row in imported.rows}
    if source is None:
        select_sources(imported.rows, params.data.sources)
    elif unused := sorted(set(result["imported"]) - set(params.data.sources)):
        result["hint"] = f"add {', '.join(unused)} to data.sources in params.yaml to train on it"
    stand_in = stands_in(there, params.data.sources)
    result["splits"] = splits_of(imported.rows, result["imported"])
    result["remarks"] = remarks_of(imported.rows, result["imported"])
    for remark in result["remarks"]:
        say(f"remark: {remark}")
    result["synthetic"] = stand_in or SYNTHETIC in params.data.sources
    result["folder"] = str(ws.path(STAGE))
    if result["synthetic"]:
        warn_synthetic(stand_in)
    return result


def _import(params: Params, ws: Workspace, folder: Path | None, name: str | None, quarantine: bool) -> dict[str, Any]:
    with ws.lock("import"):
        ws.settle(STAGE)
    before = _read(ws)
    if folder is not None:
        sources = _sources_in(folder, name)
    else:
        sources = fetch(params.data.sources, _up_to_date(before, params.seed), ws, params.seed)
    try:
        batches = _read_sources(sources, params.seed, quarantine)
        kept = [n for n in before.origins if n not in {s.name for s in sources}]
        inputs = {"schema": str(SCHEMA)} | {_input(n): before.inputs[_input(n)] for n in kept}
        inputs |= {_input(batch.source.name): batch.digest for batch in batches}
        result = ws.build(STAGE, inputs, lambda out: _write(out, ws.path(STAGE), before, kept, batches))
    finally:
        with disk_errors(ws.root):
            for one in sources:
                if one.temporary:
                    remove_tree(one.root)
    if result["up_to_date"]:
        result["new_recordings"] = 0
    return {"imported": [one.name for one in sources], **result}


def _input(source: str) -> str:
    return f"source:{source}"


def _up_to_date(before: Imported, seed: int) -> list[str]:
    """The imported sources; synthetic recordings of another seed do not count."""
    return [n for n, origin in before.origins.items() if n != SYNTHETIC or origin.get("seed", seed) == seed]


def _sources_in(folder: Path, name: str | None) -> list[Source]:
    """What `--from` names: one source with a recordings.csv, or the public sets that lie there."""
    folder = folder.expanduser()
    if is_source(folder):
        name = name if name is not None else folder.resolve().name
        if not _NAME.fullmatch(name):
            remedy = "give the source a name of letters, digits, _ and - with --name"
            raise BadInput("--name", f"{name!r} cannot be a source's name", remedy)
        return [Source(name, folder, "folder")]
    sets = sets_of(folder)
    if name is not None:
        remedy = "leave --name out, or describe the folder by a recordings.csv"
        raise BadInput("--name", f"{folder} holds {', '.join(sets)}, which keep their names", remedy)
    return [Source(one, root, "folder") for one, root in sets.items()]


def _read_sources(sources: Sequence[Source], seed: int, quarantine: bool) -> list[Batch]:
    """Raises BadRecordings with every damaged recording of all sources, unless they may be set aside."""
    batches, damaged = [], []
    for source in sources:
        say(f"reading {source.name} ({source.origin}: {source.root})")
        listed, wrong = list_source(source.name, source.root)
        good, unreadable = check_contents(source.root, listed)
        wrong += unreadable
        damaged += wrong
        aside = [_damage(source, error) for error in wrong]
        batches.append(Batch(source, tuple(good), tuple(aside), _origin(source, seed)))
        if wrong and not good and quarantine:
            raise BadRecordings(source.root, wrong)
    if damaged and not quarantine:
        where = sources[0].root if len(sources) == 1 else ", ".join(source.name for source in sources)
        raise BadRecordings(where, damaged)
    return batches


def _damage(source: Source, error: BadInput) -> Damage:
    path = error.where.removeprefix(f"{source.root}/")
    return {"source": source.name, "path": path, "reason": error.problem}


def _origin(source: Source, seed: int) -> dict[str, Any]:
    """What goes into the lineage of every model trained on this source.

    The same for a public set from a mirror and from its home, so that both give the same digest.
    """
    origin: dict[str, Any] = {"origin": source.origin}
    if source.name == SYNTHETIC and source.origin == "generator":
        origin["seed"] = seed
    if public := PUBLIC_SETS.get(source.name):
        origin = {
            "title": public.title,
            "homepage": public.homepage,
            "licence": public.licence,
            "citation": public.citation,
        }
    return origin


def _plain(row: Row) -> list[Any]:
    senses = {sense: [ref.path, ref.sha256, ref.subject, ref.size] for sense, ref in row.senses.items()}
    for sense, ref in row.senses.items():
        senses[sense] += [ref.columns] if ref.columns else []
    return [row.id, row.label, row.split, senses]


def _read(ws: Workspace) -> Imported:
    """What is imported now; nothing if there was no import."""
    folder = ws.path(STAGE)
    if not (folder / STAMP).exists():
        return Imported((), (), {}, {})
    try:
        quarantine = json.loads((folder / QUARANTINE).read_text())
        origins = json.loads((folder / SOURCES).read_text())
        missing = [name for name in origins if not (folder / name).is_dir()]
        if missing:
            raise OSError(f"no folder {missing[0]}")
    except (OSError, ValueError) as error:
        raise BadInput(folder, f"damaged: {error}", f"remove {folder} and import again") from None
    rows = tuple(read_manifest(folder / MANIFEST))
    return Imported(rows, tuple(quarantine), origins, ws.stamp(STAGE)["inputs"])


def _write(out: Path, current: Path, before: Imported, kept: Sequence[str], batches: Sequence[Batch]) -> dict[str, Any]:
    for name in kept:
        shutil.copytree(current / name, out / name, copy_function=os.link)
    for batch in batches:
        _copy_source(batch, out / batch.source.name)
    names = [*kept, *(batch.source.name for batch in batches)]
    rows = [row for row in before.rows if row.source in kept]
    rows += [_placed(row) for batch in batches for row in batch.rows]
    rows.sort(key=lambda row: (row.source, row.id))
    quarantine = [one for one in before.quarantine if one["source"] in kept]
    quarantine += [one for batch in batches for one in batch.quarantine]
    origins = {n: before.origins[n] for n in kept} | {batch.source.name: batch.origin for batch in batches}
    write_manifest(out / MANIFEST, rows)
    write_atomic(out / QUARANTINE, json.dumps(quarantine, indent=1))
    write_atomic(out / SOURCES, json.dumps(origins, indent=1, sort_keys=True))
    earlier = {_content(row) for row in before.rows}
    counts = Counter((row.source, sense) for row in rows for sense in row.senses)
    return {
        "recordings": len(rows),
        "new_recordings": sum(_content(row) not in earlier for row in rows),
        "sources": {n: {s: c for (source, s), c in sorted(counts.items()) if source == n} for n in sorted(names)},
        "quarantined": len(quarantine),
    }


def _placed(row: Row) -> Row:
    """The row as the manifest has it: id and paths begin with the source."""
    senses = {s: replace(ref, path=f"{row.source}/{ref.path}") for s, ref in row.senses.items()}
    return replace(row, id=f"{row.source}/{row.id}", senses=senses)


def _content(row: Row) -> tuple[str, str, tuple[str, ...]]:
    return row.id, row.label, tuple(ref.sha256 for ref in row.senses.values())


def _copy_source(batch: Batch, out: Path) -> None:
    """Copy the files of the good rows as they are, and check on the way that they are what was read."""
    expected: dict[str, str | None] = {}
    for row in batch.rows:
        for ref in row.senses.values():
            name, member = split_member(ref.path)
            expected[name] = ref.sha256 if member is None else None
    for folder in {(out / name).parent for name in expected}:
        folder.mkdir(parents=True, exist_ok=True)
    for name, sha256 in expected.items():
        if _copy(batch.source.root / name, out / name) != sha256 and sha256 is not None:
            raise BadInput(batch.source.root / name, "changed while it was imported", "import again")
    for row in batch.rows:
        if any(expected[split_member(ref.path)[0]] is None for ref in row.senses.values()):
            with_checksums(out, row)
    write_table(out / NAME, batch.rows)


def _copy(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was written."""
    state = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(BLOCK):
            state.update(block)
            write.write(block)
    return state.hexdigest()
