"""The import stage: sources in, one folder with their files, a recordings.csv each, and the manifest of all."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.data.dataset import SYNTHETIC, in_use, is_pattern, matching, select_sources, stands_in, unmatched
from snn_fusion.data.fetch import Source, fetch, say, warn_synthetic
from snn_fusion.data.folder import Hear, check_contents, is_source, list_source, sets_of, with_checksums
from snn_fusion.data.imported import STAGE, Damage, Imported, check_there, collect, read_imported, switch
from snn_fusion.data.manifest import Row
from snn_fusion.data.public import PUBLIC_SETS
from snn_fusion.data.readers import split_member
from snn_fusion.data.summary import remarks_of, splits_of
from snn_fusion.data.table import NAME, write_table
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.workspace import Workspace, digest, disk_errors, remove_tree

SCHEMA = 1  # of what this stage writes
FETCHING = ".fetch.lock"  # held while public sets come in, which may take an hour; only another fetch waits
BLOCK = 1 << 20
_Result = tuple[dict[str, Any], frozenset[str]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


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
    params: Params,
    ws: Workspace,
    *,
    source: Path | None = None,
    name: str | None = None,
    quarantine: bool = False,
    hear: Hear | None = None,
) -> dict[str, Any]:
    """Import a folder, or every source in `data.sources` that is missing; other sources stay as they are.

    Returns counts; `new` has those of recordings that were not there before, `new_in_data_sources` those of them that
    a run with these parameters would use. Raises BadRecordings listing every damaged file, unless `quarantine` sets
    them aside, and BadInput; nothing changes then. A second import waits for the first, and none for a stage. `hear`
    is called with every recording that is read whole.
    """
    with ws.lock("import", FETCHING) if source is None else contextlib.nullcontext():
        result, added = _import(params, ws, source, name, quarantine, hear)
    imported = read_imported(ws)
    wanted = params.data.sources
    if source is None:
        select_sources(imported.rows, wanted)
        for pattern in unmatched(imported.origins, wanted):
            say(f"data.sources: no source is named {pattern} yet")
    elif unused := sorted(set(result["imported"]) - set(matching(result["imported"], wanted))):
        result["hint"] = f"add {', '.join(unused)} to data.sources in params.yaml to train on it"
    result["splits"] = splits_of(imported.rows, result["imported"])
    result["remarks"] = remarks_of(imported.rows, result["imported"])
    for remark in result["remarks"]:
        say(f"remark: {remark}")
    used = Counter(row.source for row in in_use(imported.rows, params) if row.id in added)
    result["new_in_data_sources"] = dict(sorted(used.items()))
    stand_in = stands_in(imported.origins, wanted)
    result["synthetic"] = stand_in or SYNTHETIC in wanted
    result["folder"] = str(ws.path(STAGE))
    if result["synthetic"]:
        warn_synthetic(stand_in)
    return result


def _import(
    params: Params, ws: Workspace, folder: Path | None, name: str | None, quarantine: bool, hear: Hear | None
) -> _Result:
    """Counts, and the ids of the recordings that are new."""
    collect(ws)
    before = read_imported(ws)
    check_there(ws, before)
    if folder is not None:
        sources = _sources_in(folder, name)
    else:
        names = [one for one in params.data.sources if not is_pattern(one)]
        sources = fetch(names, _up_to_date(before, params.seed), ws, params.seed)
    try:
        batches = _read_sources(sources, params.seed, quarantine, hear)
        with ws.lock("import", ".import.lock"):
            result, added = _take_in(ws, batches)
    finally:
        with disk_errors(ws.root):
            for one in sources:
                if one.temporary:
                    remove_tree(one.root)
    collect(ws)
    return {"imported": [one.name for one in sources], **result}, added


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


def _read_sources(sources: Sequence[Source], seed: int, quarantine: bool, hear: Hear | None) -> list[Batch]:
    """Raises BadRecordings with every damaged recording of all sources, unless they may be set aside."""
    batches, damaged = [], []
    for source in sources:
        say(f"reading {source.name} ({source.origin}: {source.root})")
        listed, wrong = list_source(source.name, source.root)
        good, unreadable = check_contents(source.root, listed, hear)
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


def _take_in(ws: Workspace, batches: Sequence[Batch]) -> _Result:
    """Copy what was read and is not there yet into folders of its own, and make these current."""
    before, building = read_imported(ws), ws.path(".building", STAGE)
    changed = [one for one in batches if before.inputs.get(_input(one.source.name)) != one.digest]
    if not changed:
        return _counts(before, []) | {"up_to_date": True}, frozenset()
    try:
        with disk_errors(ws.path(STAGE)):
            remove_tree(building)  # what a kill left
            now = _merged(before, [(batch, _copied(batch, ws, building)) for batch in changed])
        earlier = {_content(row) for row in before.rows}
        new = [row for row in now.rows if _content(row) not in earlier]
        result = _counts(now, new)
        switch(ws, building, now, result)
    finally:
        with disk_errors(ws.root):
            remove_tree(building)
    return result | {"up_to_date": False}, frozenset(row.id for row in new)


def _copied(batch: Batch, ws: Workspace, building: Path) -> str:
    """The folder within recordings/ for this content of the source, copied into `building` unless it is there."""
    name = batch.source.name
    if ws.path(STAGE, name).exists():  # a run may still read it
        name = f"{name}@{batch.digest[:12]}"
    if not ws.path(STAGE, name).exists():
        _copy_source(batch, building / name)
    return name


def _merged(before: Imported, placed: Sequence[tuple[Batch, str]]) -> Imported:
    """`before` with these batches in the place of what their sources had; each with its folder in recordings/."""
    sources = {batch.source.name: batch for batch, _ in placed}
    kept = before.only(before.origins.keys() - sources)
    rows = [*kept.rows, *(_placed(row, folder) for batch, folder in placed for row in batch.rows)]
    return Imported(
        tuple(sorted(rows, key=lambda row: (row.source, row.id))),
        (*kept.quarantine, *(one for batch in sources.values() for one in batch.quarantine)),
        {**kept.origins, **{name: batch.origin for name, batch in sources.items()}},
        {**kept.inputs, "schema": str(SCHEMA), **{_input(name): batch.digest for name, batch in sources.items()}},
    )


def _counts(now: Imported, new: Sequence[Row]) -> dict[str, Any]:
    counts = Counter((row.source, sense) for row in now.rows for sense in row.senses)
    return {
        "recordings": len(now.rows),
        "new_recordings": len(new),
        "new": dict(sorted(Counter(row.source for row in new).items())),
        "sources": {n: {s: c for (source, s), c in sorted(counts.items()) if source == n} for n in sorted(now.origins)},
        "quarantined": len(now.quarantine),
    }


def _placed(row: Row, folder: str) -> Row:
    """The row as the manifest has it: its id begins with the source, its paths with the source's folder."""
    senses = {s: replace(ref, path=f"{folder}/{ref.path}") for s, ref in row.senses.items()}
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
