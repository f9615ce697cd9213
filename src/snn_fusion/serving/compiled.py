"""Where the artefact is that a chip's arithmetic is run from."""

from __future__ import annotations

import json
from pathlib import Path

from snn_fusion.errors import BadInput
from snn_fusion.registry import chip_runs
from snn_fusion.registry.seals import ARTEFACT
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import Version
from snn_fusion.workspace import Workspace, check_seal


def compiled(ws: Workspace, graph: str, target: str, version: Version | None = None) -> Path:
    """The folder of what was compiled for `target` from the network with digest `graph`: registered with its version,
    else in the workspace. Raises BadInput if neither is there.
    """
    if version is not None and (registered := chip_runs.artefacts(connect(ws), version, ws, target).get(target)):
        return registered
    here, remedy = ws.path("compiled", target), f"run `snn-fusion compile --target {target}`"
    if not (here / "compiled.json").is_file():
        raise BadInput(here, "nothing is compiled there", remedy)
    said = json.loads((here / "compiled.json").read_text())
    if said["graph"] != graph:
        raise BadInput(here, "is of another network", f"serve that one, or {remedy}")
    if "digest" in said and (found := check_seal(here, ARTEFACT, "artefact", "compile", remedy)) != said["digest"]:
        raise BadInput(here, f"its digest is {found[:12]}, compiled.json says {said['digest'][:12]}", remedy)
    return here
