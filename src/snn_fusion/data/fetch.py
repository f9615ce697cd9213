"""Where a source comes from: a local mirror, its public home, or, where neither can be had, the generator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.panel import Panel

from snn_fusion import log_lines
from snn_fusion.data.dataset import SYNTHETIC
from snn_fusion.data.download import TRIES, Unreachable, download
from snn_fusion.data.layouts import find_sets
from snn_fusion.data.public import PUBLIC_SETS
from snn_fusion.data.unpack import expand_z, unpack
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, disk_errors, project_root, remove_tree

MIRROR = "SNN_FUSION_DATA_DIR"


@dataclass(frozen=True)
class Source:
    """A source ready to be imported: its files below `root`; `origin` is folder, mirror, download or generator.

    `temporary` says that `root` is to be removed after the import.
    """

    name: str
    root: Path
    origin: str
    temporary: bool = False


def fetch(wanted: Sequence[str], imported: Iterable[str], ws: Workspace, seed: int) -> list[Source]:
    """Get every wanted source that is not imported yet. One process a workspace may do so at a time.

    If no public source that is wanted can be had, neither here nor from its home, the synthetic one is returned in
    their place. Raises BadInput for a name that means nothing, and if only some of the public sources can be had.
    """
    missing = [name for name in dict.fromkeys(wanted) if name not in set(imported)]
    for name in missing:
        if name not in PUBLIC_SETS and name != SYNTHETIC:
            known = ", ".join([*PUBLIC_SETS, SYNTHETIC])
            remedy = f"run `snn-fusion import --from DIR --name {name}`; always known: {known}"
            raise BadInput("params.yaml: data.sources", f"{name!r} is not imported", remedy)
    sources = _from_mirrors([name for name in missing if name != SYNTHETIC])
    here = {source.name for source in sources}
    failures: dict[str, Unreachable] = {}
    for name in missing:
        if name not in here and name != SYNTHETIC:
            try:
                sources.append(_from_home(name, ws, tries=1 if failures else TRIES))
            except Unreachable as error:
                failures[name] = error
                say(str(error))
    public = [name for name in wanted if name in PUBLIC_SETS]
    if failures and len(failures) < len(public):
        reasons = "; ".join(f"{name}: {error}" for name, error in failures.items())
        remedy = f"point {MIRROR} at a folder that has them, or leave them out of data.sources"
        raise BadInput("params.yaml: data.sources", f"cannot be had: {reasons}", remedy)
    if SYNTHETIC in missing or (failures and SYNTHETIC not in set(imported)):
        sources.append(_generate(ws, seed))
    return sources


def mirrors() -> list[Path]:
    """Folders that may hold the public sets, best first."""
    named = os.environ.get(MIRROR)
    return [*([Path(named).expanduser()] if named else []), project_root().parent / "shared" / "data"]


def _from_mirrors(names: Sequence[str]) -> list[Source]:
    sources: dict[str, Source] = {}
    for folder in mirrors():
        found = find_sets(folder)
        for name in names:
            if name in found:
                sources.setdefault(name, Source(name, found[name], "mirror"))
    if os.environ.get(MIRROR) and (lacking := [name for name in names if name not in sources]):
        say(f"{MIRROR}={os.environ[MIRROR]} has no {', '.join(lacking)}: fetching from the public home")
    return list(sources.values())


def _from_home(name: str, ws: Workspace, tries: int) -> Source:
    public = PUBLIC_SETS[name]
    downloads = ws.path("downloads")
    whole, unpacking = downloads / name, downloads / f".{name}"
    source = Source(name, whole, "download", temporary=True)
    with disk_errors(downloads):
        if whole.is_dir():  # unpacked by an import that was killed
            return source
        say(f"{public.title}: {public.homepage}, licence {public.licence}")
        for archive in public.archives:
            download(archive.url, downloads / archive.file, archive.checksum, tries)
        remove_tree(unpacking)
        for archive in public.archives:
            unpack(downloads / archive.file, unpacking, archive.members, archive.max_bytes)
        for path in unpacking.rglob("*.Z"):
            expand_z(path)
        unpacking.rename(whole)
    return source


def _generate(ws: Workspace, seed: int) -> Source:
    from snn_fusion.data.synthetic import generate

    folder = ws.path("downloads", SYNTHETIC)
    with disk_errors(folder):
        remove_tree(folder)
        folder.mkdir(parents=True)
        say("generating synthetic recordings")
        generate(folder, seed)
    return Source(SYNTHETIC, folder, "generator", temporary=True)


def say(text: str) -> None:
    """A line on stderr, where progress goes."""
    log_lines.console().print(text, style="dim", highlight=False, soft_wrap=True)


def warn_synthetic(stands_in: bool) -> None:
    """Nobody may take a run on synthetic recordings for a run on real ones."""
    why = (
        f"No public recordings could be had. Point {MIRROR} at a copy of them, or connect to the network, and import "
        "again.\n"
    )
    text = (why if stands_in else "") + "Accuracies of this run say nothing about real recordings."
    log_lines.console().print(Panel(text, title="THIS RUN USES SYNTHETIC RECORDINGS", style="bold yellow"))
