"""A packaged model: a folder that holds all that serving needs of one, each file named with its SHA-256.

package.json     model, version, graph (its digest), files: {path: sha256}
graph/           as training left it
evaluation.json  accuracy after each step
rates.json       rates of spikes in training, where they were registered
compiled/TARGET/ its artefact for a chip, where there is one
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.errors import BadInput
from snn_fusion.workspace import file_digest

if TYPE_CHECKING:
    from snn_fusion.serving.model import Model

NAME = "package.json"
REMEDY = "build it again: `snn-fusion package`"


def is_package(folder: Path) -> bool:
    return (folder / NAME).is_file()


def seal(folder: Path, about: dict[str, Any]) -> None:
    """Write package.json over the files that lie there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {**about, "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files}}
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n")


def load_package(folder: Path, arithmetic: str) -> Model:
    """The packaged model in this arithmetic. Raises BadInput for a changed file, and for a chip that is not in it."""
    from snn_fusion.serving.model import chip_model, float_model
    from snn_fusion.validation.drift import read_profile

    content = check(folder)
    evaluation, version = folder / "evaluation.json", str(content["version"])
    if arithmetic == "float":
        model = float_model(folder / "graph", version, evaluation)
    else:
        compiled = folder / "compiled" / arithmetic
        if not compiled.is_dir():
            there = sorted(path.name for path in (folder / "compiled").glob("*"))
            raise BadInput(folder, f"holds nothing compiled for {arithmetic}", f"float, {', '.join(there)}")
        model = chip_model(folder / "graph", version, compiled, evaluation)
    if model.graph.digest != content["graph"]:
        raise BadInput(folder / "graph", f"is {model.graph.digest[:12]}, not {content['graph'][:12]}", REMEDY)
    rates = folder / "rates.json"
    return replace(model, profile=read_profile(rates)) if rates.exists() else model


def check(folder: Path) -> dict[str, Any]:
    """What package.json says. Raises BadInput for a file that is missing or is not as it was packaged."""
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_text())
        files = dict(content["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(folder / NAME, f"cannot be read: {error}", REMEDY) from None
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise BadInput(folder / name, "is missing", REMEDY)
        if (found := file_digest(folder / name)) != sha256:
            problem = f"is not as it was packaged: its digest is {found[:12]}, {NAME} says {str(sha256)[:12]}"
            raise BadInput(folder / name, problem, REMEDY)
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        if (name := path.relative_to(folder).as_posix()) not in (NAME, *files):
            raise BadInput(path, f"was not packaged: {NAME} does not name it", REMEDY)
    return content
