"""What is registered is what is used: the digests in a version's tags, compared whenever one of its files is loaded.

The tags lie in the registry's database, the files in its artefact store and in the workspace's cache, where others may
write. A file that is not what was registered is refused by name. Versions that were registered before a file had a
digest of its own are checked by what the file says of its network, and a warning says that this is all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, check_seal, file_digest

GRAPH_TAG, WEIGHTS_TAG, ARTEFACT_TAG = "graph_digest", "weights_digest", "artefact_digest"
GRAPH = ("graph.nir", "graph.json", "weights.safetensors")  # network.graph.FILES, which would import torch first
ARTEFACT = ("artefact.json", "arrays.safetensors")  # targets.artefact.FILES, likewise
# Files of a version's run that are used later: their name there, the tag of their SHA-256, their place when registered.
FILES = {
    "evaluation.json": ("evaluation_digest", "evaluated/evaluation.json"),
    "predictions.parquet": ("predictions_digest", "evaluated/predictions.parquet"),
    "targets.json": ("targets_digest", "compared/targets.json"),
    "validation/profile.json": ("profile_digest", "validated/profile.json"),
}
RATES, RATES_TAG = "rates.json", "rates_digest"  # computed while the run is logged
log = logging.getLogger(__name__)


class Altered(BadInput):
    """A file of a version is not the one that was registered."""


def seals(ws: Workspace) -> dict[str, str]:
    """The tags of a version that is about to be registered from this workspace."""
    places = {tag: ws.path(*place.split("/")) for tag, place in FILES.values()}
    return {tag: file_digest(path) for tag, path in places.items() if path.is_file()}


def check_graph(folder: Path, version: str, tags: Mapping[str, str]) -> None:
    """Raises BadInput if the graph in `folder` is damaged, Altered if it is not the version's."""
    if not tags.get(GRAPH_TAG):
        raise Altered(version, f"has no tag {GRAPH_TAG}: its graph cannot be checked", "register it again")
    found = check_seal(folder, GRAPH, "graph", "train", "restore the graph")
    _compare(folder, f"{version}: graph", found, tags[GRAPH_TAG])


def check_artefact(folder: Path, version: str, target: str, graph: str | None, expected: str | None) -> None:
    """Raises BadInput if what was compiled for `target` is damaged, Altered if it is not the version's."""
    what = f"{version}: artefact for {target}"
    if expected:
        found = check_seal(folder, ARTEFACT, "artefact", "compile", "restore the artefact")
        _compare(folder, what, found, expected)
    else:
        _warn(f"{what} was registered without a digest: only the network that it names is checked")
    said = folder / "compiled.json"
    if graph and said.is_file():
        _compare(said, f"{what}: its network", str(json.loads(said.read_text()).get("graph")), graph)


def check_file(path: Path, name: str, version: str, tags: Mapping[str, str]) -> None:
    """Raises Altered if this file of a version's run is not the one that was registered; others have no digest."""
    tag = RATES_TAG if name == RATES else FILES.get(name, ("", ""))[0]
    if not tag:
        return
    if expected := tags.get(tag):
        return _compare(path, f"{version}: {name}", file_digest(path), expected)
    _warn(f"{version}: {name} was registered without a digest, so it cannot be checked; register it again to seal it")
    if name == "evaluation.json" and (graph := tags.get(GRAPH_TAG)):
        check_evaluation(path, graph, tags.get(WEIGHTS_TAG))


def check_evaluation(path: Path, graph: str, weights: str | None) -> None:
    """Raises Altered if an evaluation says that it is of another network than the one with these digests.

    The weights count where both are known: trained again at another commit, the same network has another graph digest.
    """
    model = json.loads(path.read_text()).get("model", {})
    if weights and WEIGHTS_TAG in model:
        return _compare(path, "the network that it is of, by its weights", model[WEIGHTS_TAG], weights)
    _compare(path, "the network that it is of", model.get("digest", graph), graph)


def _compare(where: Path, what: str, found: str, expected: str) -> None:
    if found != expected:
        problem = (
            f"is not what was registered as {what}: its digest is {found[:12]}, the registered one {expected[:12]}"
        )
        raise Altered(where, problem, "restore it from a backup, or remove a cached copy and it is fetched again")


@cache
def _warn(text: str) -> None:
    """Once in a process."""
    log.warning(text)
