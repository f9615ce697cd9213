"""The model that the settings name: from the registry, or a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snn_fusion.network.graph import Graph
from snn_fusion.registry import rates, versions
from snn_fusion.registry.tracking import connect
from snn_fusion.serving.compiled import compiled
from snn_fusion.serving.model import Model, chip_model, float_model
from snn_fusion.serving.packaged import is_package, load_package
from snn_fusion.serving.settings import Settings, folder_of
from snn_fusion.validation.drift import Profile, read_profile
from snn_fusion.workspace import Workspace


def load(settings: Settings) -> Model:
    """The model that answers. Raises BadInput."""
    return named(settings.model, settings.arithmetic, settings)


def challenger(settings: Settings) -> Model | None:
    """The model that answers a share of the requests, in the float network's arithmetic. Raises BadInput."""
    return named(settings.challenger, "float", settings) if settings.challenger else None


def named(name: str, arithmetic: str, settings: Settings | None = None) -> Model:
    """`name`: a version, an alias, a graph folder or a package; `arithmetic`: `float` or a target. Raises BadInput."""
    folder = folder_of(name)
    if folder is not None and is_package(folder):
        return load_package(folder, arithmetic)
    ws, version, evaluation, logged = Workspace.default(), None, None, None
    if folder is None:
        version = versions.find(connect(ws), (settings or Settings()).registered, name)
        folder, name = versions.graph_folder(version, ws), version.number
        evaluation = versions.run_file(versions.evaluated(version), "evaluation.json", ws)
        logged = versions.logged_rates(version, ws)
    else:
        name = folder.name
    if arithmetic == "float":
        made = float_model(folder, name, evaluation)
    else:
        digest = (folder / "digest").read_text().strip()  # which is held to the graph when that is loaded
        made = chip_model(folder, name, compiled(ws, digest, arithmetic, version), evaluation)
    return replace(made, profile=_profile(made.graph, logged, ws))


def _profile(graph: Graph, logged: Path | None, ws: Workspace) -> Profile | None:
    """What was registered with the model, else what this workspace's training recordings give."""
    kept = logged or ws.path("cache", "rates", f"{graph.digest}.json")
    if not kept.exists() and rates.write_rates(graph, ws, kept) is None:
        return None
    return read_profile(kept)
