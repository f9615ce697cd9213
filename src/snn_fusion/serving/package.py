"""`snn-fusion package`: a registered version as a Bento, with all that serving needs and nothing that can be unpickled.

It is made from files that are here already: no network is used. Its tag names the version and the digest of all that
went in, so that the same version packaged again is the same Bento.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import versions
from snn_fusion.registry.chip_runs import artefacts
from snn_fusion.registry.embedded_airflow import program
from snn_fusion.registry.seals import GRAPH
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.unchanged import unless_unchanged
from snn_fusion.registry.versions import Version
from snn_fusion.serving.packaged import seal
from snn_fusion.serving.requirements import TORCH, needed
from snn_fusion.workspace import (
    PACKAGE,
    Workspace,
    check_seal,
    code_digest,
    digest,
    disk_error_in,
    file_digest,
    project_root,
    remove_tree,
    tree_digest,
)

NAME = "snn-fusion"
TEMPLATE = PACKAGE / "serving" / "bento"
HOME = "BENTOML_HOME"
ARTEFACT = ("artefact.json", "arrays.safetensors", "digest")  # what running a compiled network takes


def package(params: Params, ws: Workspace, name: str) -> dict[str, Any]:
    """Build the Bento of a version or alias into BentoML's store: $BENTOML_HOME, else bentoml/ in the workspace.

    Nothing is done if that Bento is there. Raises BadInput if there is no such version or its files are damaged.
    """
    if os.environ.get(HOME):
        return _packaged(params, ws, name)
    # The package's own files that are not code (pages, the Bento's template) go into a Bento as well.
    places = project_root() / "requirements.lock", PACKAGE / "serving", ws.path("packaged"), ws.path("bentoml")
    of = digest(params.registry.model, name)[:12]
    return unless_unchanged(f"package-{of}", ws, lambda: _packaged(params, ws, name), *places)


def _packaged(params: Params, ws: Workspace, name: str) -> dict[str, Any]:
    client = connect(ws)
    version = versions.find(client, params.registry.model, name)
    graph = versions.graph_folder(version, ws)
    graph_digest = check_seal(graph, GRAPH, "graph", "train", "register it again")
    if graph_digest != version.tags.get("graph_digest"):
        raise BadInput(graph, f"is not what was registered as {version}", "remove this folder, and it is fetched again")
    rates = versions.logged_rates(version, ws)
    evidence = [versions.run_file(versions.evaluated(version), "evaluation.json", ws), *([rates] if rates else [])]
    lock = project_root() / "requirements.lock"
    compiled = artefacts(client, version, ws)
    for folder in compiled.values():
        check_seal(folder, ARTEFACT[:2], "artefact", "compile", "remove this folder, and it is fetched again")
    inputs = {
        "version": version.number,
        "graph": graph_digest,
        "evidence": digest([file_digest(one) for one in evidence]),
        "compiled": digest({name: (folder / "digest").read_text() for name, folder in compiled.items()}),
        "code": digest(code_digest("."), tree_digest(TEMPLATE)),
        "requirements": digest(needed(lock)),
    }
    tag = f"{NAME}:{version.number}-{digest(inputs)[:12]}"
    home = Path(os.environ.get(HOME) or ws.path("bentoml"))
    bento = home / "bentos" / NAME / tag.partition(":")[2]
    with ws.lock("package"):
        if not (bento / "bento.yaml").is_file():
            remove_tree(ws.path("packaged"))  # the Bento that it tells of is gone, or another

    def work(out: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:  # BentoML takes nothing from hidden folders such as `out`
            context = Path(folder) / "context"
            _gather(context, version, graph, evidence, compiled, needed(lock))
            remove_tree(bento)  # what a kill left
            _build(context, tag, home)
        return {
            "tag": tag,
            "version": version.number,
            "graph": graph_digest,
            "targets": sorted(compiled),
            "bento": str(bento),
            "serve": f"{HOME}={home} bentoml serve {tag} --host 127.0.0.1",
        }

    return ws.build("packaged", inputs | {"store": str(home)}, work)


def _gather(
    context: Path, version: Version, graph: Path, evidence: list[Path], compiled: dict[str, Path], requirements: str
) -> None:
    """All that goes in, as BentoML takes it."""
    shutil.copytree(TEMPLATE, context, ignore=shutil.ignore_patterns("__pycache__"))
    template = context / "Dockerfile.template"
    template.write_text(template.read_text().replace("TORCH", TORCH))
    shutil.copytree(PACKAGE, context / "snn_fusion", ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "bento"))
    (context / "requirements.txt").write_text(requirements)
    shutil.copy(project_root() / "LICENSE", context)
    model = context / "model"
    _copy(graph, (*GRAPH, "digest"), model / "graph")
    for one in evidence:
        _copy(one.parent, (one.name,), model)
    for name, folder in compiled.items():
        _copy(folder, ARTEFACT, model / "compiled" / name)
    about = {
        "model": version.model,
        "version": version.number,
        "graph": (model / "graph" / "digest").read_text().strip(),
    }
    seal(model, about)


def _copy(source: Path, names: tuple[str, ...], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, place / name)


def _build(context: Path, tag: str, home: Path) -> None:
    """Raises SnnFusionError with what BentoML said."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("SNN_FUSION_SERVE_")}
    done = subprocess.run(
        [program("bentoml"), "build", "--version", tag.partition(":")[2], "--output", "tag", "."],
        cwd=context,
        env=ours | {HOME: str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(context)},
        capture_output=True,
        text=True,
    )
    if done.returncode or tag not in done.stdout:
        said = (done.stdout + done.stderr)[-2000:]
        if full := disk_error_in(said):
            raise BadInput(home, f"cannot write: {full}", "free some space, or set BENTOML_HOME")
        raise SnnFusionError(f"bentoml build failed in {context}:\n{said}")
