"""The model that the settings name: from the registry, or a folder."""

from __future__ import annotations

from snn_fusion.config import load_params
from snn_fusion.errors import BadInput
from snn_fusion.registry import versions
from snn_fusion.registry.tracking import connect
from snn_fusion.serving.model import Model, chip_model, float_model
from snn_fusion.serving.packaged import is_package, load_package
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import Workspace, project_root


def load(settings: Settings) -> Model:
    """Raises BadInput."""
    if settings.folder is not None and is_package(settings.folder):
        return load_package(settings.folder, settings.arithmetic)
    ws = Workspace.default()
    if settings.folder is not None:
        folder, name, evaluation = settings.folder, settings.folder.name, None
    else:
        params = load_params(project_root() / "params.yaml")
        version = versions.find(connect(ws), params.registry.model, settings.model)
        folder, name = versions.graph_folder(version, ws), version.number
        evaluation = versions.run_file(version, "evaluation.json", ws)
    if settings.arithmetic == "float":
        return float_model(folder, name, evaluation)
    compiled = ws.path("compiled", settings.arithmetic)
    made = chip_model(folder, name, compiled, evaluation)
    of = (compiled / "compiled.json").read_text()
    if made.graph.digest not in of:
        raise BadInput(compiled, "is of another network", f"run `snn-fusion compile --target {settings.arithmetic}`")
    return made
