"""Before the registry is copied into the remote: the files of every version are those that were registered.

A file that has not changed since it was last found right (by size and the time of its last change, which nobody can
set) is not read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from snn_fusion.errors import BadInput
from snn_fusion.registry import seals, versions
from snn_fusion.registry.chip_runs import measured
from snn_fusion.registry.tracking import artifact_root
from snn_fusion.registry.versions import Version, evaluated, of_run_tag
from snn_fusion.workspace import Workspace, digest, listing, write_atomic

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHECKED = ("dvc", "checked.json")
Part = tuple[Path, Callable[[Path], None]]


def check_registry(client: MlflowClient, model: str, ws: Workspace) -> None:
    """Raises BadInput naming the first file in the workspace's store that is not what was registered."""
    path = ws.path(*CHECKED)
    before = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, str] = {}
    for version in versions.every(client, model):
        parts = [part for part in _parts(client, version) if part[0].is_relative_to(artifact_root(ws))]
        said = {name: value for name, value in version.tags.items() if "_digest" in name}
        state = digest(said, [listing(place) for place, _ in parts])
        if before.get(version.number) != state:
            for place, check in parts:
                if not place.exists():
                    remedy = "restore it from a backup, or delete the version"
                    raise BadInput(place, f"is missing, though it was registered with {version}", remedy)
                check(place)
        found[version.number] = state
    write_atomic(path, json.dumps(found, indent=1))


def _parts(client: MlflowClient, version: Version) -> Iterator[Part]:
    """Each file or folder of a version that has a digest in its tags, with what compares the two."""
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    name, tags = str(version), version.tags
    if seals.GRAPH_TAG in tags:
        model = ModelsArtifactRepository.get_underlying_uri(f"models:/{version.model}/{version.number}")
        graph = _path(model) / "artifacts" / versions.GRAPH
        yield graph, partial(seals.check_graph, version=name, tags=tags)
    later = evaluated(version)
    for one, ending in ((version, ""), (later, later.run_id)):
        if ending == version.run_id:
            continue
        files = {file: tag for file, (tag, _) in seals.FILES.items()} | (
            {} if ending else {seals.RATES: seals.RATES_TAG}
        )
        run = _path(client.get_run(one.run_id).info.artifact_uri)
        for file, tag in files.items():
            if (of_run_tag(tag, ending) if ending else tag) in tags:
                yield run / file, partial(seals.check_file, name=file, version=name, tags=one.tags)
    for target, chip in measured(client, version).items():
        if expected := chip.data.tags.get(seals.ARTEFACT_TAG):
            graph_digest = tags.get(seals.GRAPH_TAG)
            check = partial(seals.check_artefact, version=name, target=target, graph=graph_digest, expected=expected)
            yield _path(chip.info.artifact_uri) / "artefact", check


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
