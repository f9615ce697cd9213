"""Rebuild a registered version from what was recorded of it, and compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console
from rich.table import Table

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import versions
from snn_fusion.registry.dvc_project import PARAMS
from snn_fusion.registry.lineage import lock_digest, read_data_set, training_code
from snn_fusion.registry.processes import ALONE
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versioning import IN_RUN, TAG, restore_recordings
from snn_fusion.registry.versions import Version
from snn_fusion.workspace import Workspace, disk_errors, project_root, remove_tree, write_atomic

STAGES = ("validate", "encode", "train")
RUN_CLI = "from snn_fusion.cli import main; main()"
DIRTY = "-dirty"
RESULT = "reproduction.json"


def reproduce(params: Params, ws: Workspace, version: str) -> dict[str, Any]:
    """Train a version again from its recorded recordings, commit, parameters and seed; compare the weights.

    `version` is a number or an alias; of `params` only the model's name is used. What could not be had as recorded
    (a commit that was never made) is replaced by what is here, and listed under `differences`. Nothing of the
    workspace changes but reproduce/<version>/, which goes away again if the weights are the same.
    Raises BadInput if the version, its lock or its recordings are gone, SnnFusionError if a stage fails.
    """
    recorded = versions.find(connect(ws), params.registry.model, version)
    if TAG not in recorded.tags:
        problem = "it was never pushed, so where its recordings are is not on record"
        raise BadInput(f"model {recorded.model}, {recorded}", problem, "run `snn-fusion push` after registering")
    place = ws.path("reproduce", recorded.number)
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f".{place.name}.lock")):  # not the workspace's: training takes minutes
        return _rebuild(recorded, place, ws)


def _rebuild(recorded: Version, place: Path, ws: Workspace) -> dict[str, Any]:
    files = versions.run_file(recorded, IN_RUN, ws)
    _say(f"fetching the recordings of {recorded}")
    with ws.lock("reproduce"), disk_errors(place):
        remove_tree(place)
        place.mkdir()
        restore_recordings(files, place, ws)
    code, note = _checkout(recorded, place / "code")
    home = Workspace(place / "workspace")
    for stage in STAGES:
        _say(f"{stage}: with {note}")
        _run(stage, code, place / PARAMS, home)
    result = _compare(recorded, home, note, ws)
    write_atomic(place / RESULT, json.dumps(result, indent=1))
    _show(result)
    if result["same_weights"]:
        remove_tree(place)
    return result


def _checkout(recorded: Version, place: Path) -> tuple[Path, str]:
    """The recorded commit in a clone of its own; the checkout as it is where there is no such commit."""
    here, commit = project_root(), recorded.tags.get("commit", "unknown")
    clean = commit.removesuffix(DIRTY)
    if commit.endswith(DIRTY):
        return here, f"the code as it is here: it was trained on changes to {clean[:12]} that were never committed"
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(here), str(place)]
    checkout = ["git", "-C", str(place), "-c", "advice.detachedHead=false", "checkout", "--quiet", clean]
    for command in (clone, checkout):
        if subprocess.run(command, capture_output=True).returncode:
            return here, f"the code as it is here: commit {commit[:12]} is not in this repository"
    return place, f"commit {commit[:12]}"


def _run(stage: str, code: Path, params: Path, home: Workspace) -> None:
    """A stage of that checkout, in this Python environment, in a workspace of its own."""
    paths = [str(code / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"SNN_FUSION_HOME": str(home.root), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *ALONE, "-c", RUN_CLI, stage, "--json", "--params", str(params)]
    done = subprocess.run(command, cwd=code, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SnnFusionError(f"`{stage}` failed while rebuilding (its message is above); the pieces are in {home.root}")


def _compare(recorded: Version, home: Workspace, note: str, ws: Workspace) -> dict[str, Any]:
    """Everything that was recorded against what was rebuilt."""
    graph = home.path("trained", "graph")
    weights = json.loads((graph / "graph.json").read_text())["weights_sha256"]
    rebuilt = {
        "weights_digest": weights,
        "data_digest": read_data_set(home).digest,
        "code_digest": training_code(home),
        "lock_digest": lock_digest(),
    }
    same = weights == recorded.tags.get("weights_digest")
    return {
        "same_weights": same,
        "version": recorded.number,
        "rebuilt_with": note,
        "weights_digest": weights,
        "differences": {
            name: {"recorded": recorded.tags.get(name, "unknown"), "rebuilt": value}
            for name, value in rebuilt.items()
            if recorded.tags.get(name) != value
        },
        "tensors": {} if same else tensor_differences(versions.graph_folder(recorded, ws), graph),
        "kept": None if same else str(home.root.parent),
    }


def tensor_differences(recorded: Path, rebuilt: Path) -> dict[str, Any]:
    """For each tensor of two graph folders that differs: the largest absolute difference, or both shapes."""
    import numpy as np
    from safetensors.numpy import load_file

    old, new = (load_file(folder / "weights.safetensors") for folder in (recorded, rebuilt))
    found: dict[str, Any] = {}
    for name in sorted(old.keys() | new.keys()):
        shapes = [list(one[name].shape) if name in one else None for one in (old, new)]
        if shapes[0] != shapes[1]:
            found[name] = {"recorded_shape": shapes[0], "rebuilt_shape": shapes[1]}
        elif not np.array_equal(old[name], new[name]):
            found[name] = float(np.abs(old[name].astype(np.float64) - new[name]).max())
    return found


def _say(text: str) -> None:
    Console(stderr=True).print(text, style="dim", highlight=False, markup=False)


def _show(result: dict[str, Any]) -> None:
    """On a terminal's standard error: what differs, if anything does."""
    if not result["differences"] and not result["tensors"]:
        return
    table = Table("what", "recorded", "rebuilt", title=f"version {result['version']}: differences", title_style="bold")
    for name, pair in result["differences"].items():
        table.add_row(name.replace("_", " "), pair["recorded"][:16], pair["rebuilt"][:16])
    for name, difference in result["tensors"].items():
        shapes = difference if isinstance(difference, dict) else {}
        text = f"largest difference {difference:.3g}" if not shapes else str(shapes["rebuilt_shape"])
        table.add_row(f"tensor {name}", str(shapes.get("recorded_shape", "")), text)
    Console(stderr=True).print(table)
