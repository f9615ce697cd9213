"""Where the artefact is that a chip's arithmetic is run from."""

from __future__ import annotations

import json
from pathlib import Path

from snn_fusion.errors import BadInput
from snn_fusion.registry import chip_runs
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import Version
from snn_fusion.workspace import Workspace


def compiled(ws: Workspace, graph: str, target: str, version: Version | None = None) -> Path:
    """The folder of what was compiled for `target` from the network with digest `graph`: registered with its version,
    else in the workspace. Raises BadInput if neither is there.
    """
    if version is not None and (registered := chip_runs.artefacts(connect(ws), version, ws, target).get(target)):
        return registered
    here, remedy = ws.path("compiled", target), f"run `snn-fusion compile --target {target}`"
    if not (here / "compiled.json").is_file():
        raise BadInput(here, "nothing is compiled there", remedy)
    if json.loads((here / "compiled.json").read_text())["graph"] != graph:
        raise BadInput(here, "is of another network", f"serve that one, or {remedy}")
    return here
