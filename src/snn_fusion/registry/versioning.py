"""The stage `push`: data and checkpoints under DVC, in the remote, without a change to the checkout.

A private DVC project in the workspace stands for the checkout: its own dvc.lock beside links to the checkout's code
and to the workspace. So nothing that git tracks changes, and the lock is the very one that `dvc repro` would write.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml

from snn_fusion.config import Params
from snn_fusion.data.imported import LOCK as RECORDINGS_LOCK
from snn_fusion.data.imported import SNAPSHOT, check_pinned, make_current
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import versions
from snn_fusion.registry.lineage import read_data_set
from snn_fusion.registry.tracking import connect
from snn_fusion.workspace import (
    DISK_REMEDY,
    Workspace,
    disk_error_in,
    disk_errors,
    project_root,
    remove_tree,
    write_atomic,
)

REMOTE = "SNN_FUSION_DVC_REMOTE"
LOCK, STAGES, PARAMS = "dvc.lock", "dvc.yaml", "params.yaml"
RECORDED = (LOCK, STAGES, PARAMS)
IN_RUN = "dvc"  # folder of the recorded files among the run's artefacts
IMPORTED, VALIDATED = "workspace/recordings", "workspace/validated"
TAG = "recordings_md5"


def push(params: Params, ws: Workspace) -> dict[str, Any]:
    """Give the workspace's recordings, checkpoints and results to DVC and push them to its remote.

    The dvc.lock that leads to them is logged with the registered version's run and kept in dvc/locks/<data digest>/.
    Raises BadInput if the network in the workspace is not registered, SnnFusionError if DVC or the remote fails.
    """
    with ws.lock("push"), disk_errors(ws.path("dvc")):
        registered = _registered(ws)
        data = read_data_set(ws).digest
        project = ws.path("dvc", "project")
        _mimic_checkout(project, params, ws)
        with ws.lock("push", RECORDINGS_LOCK):  # DVC must not see half of an import
            dvc(project, "commit", "--force")  # with --quiet it would not say what is wrong
        sent = dvc(project, "push").strip().splitlines()
        kept = ws.path("dvc", "locks", data)
        for name in RECORDED:
            write_atomic(kept / name, (project / name).read_bytes())
        md5 = _recordings_md5(project / LOCK)
        client = connect(ws)
        client.log_artifacts(registered["run_id"], str(kept), IN_RUN)
        client.set_model_version_tag(registered["model"], registered["version"], TAG, md5)
        return {
            "version": registered["version"],
            "data_digest": data,
            "recordings_md5": md5,
            "pushed": sent[-1] if sent else "",
            "up_to_date": bool(sent) and sent[-1].startswith("Everything is up to date"),
            "lock": str(kept / LOCK),
        }


def _registered(ws: Workspace) -> dict[str, Any]:
    """What the stage `register` recorded. Raises BadInput if what it registered is not what lies here."""
    registered: dict[str, Any] = ws.stamp("registered")["result"]
    if registered["graph_digest"] != ws.path("trained", "graph", "digest").read_text().strip():
        raise BadInput(ws.path("registered"), "is of another network", versions.RUN_FIRST)
    check_pinned(ws)
    return registered


def restore_recordings(files: Path, place: Path, ws: Workspace) -> None:
    """Fetch the recordings that the recorded dvc.lock in `files` names into `place`/workspace/recordings.

    As the run saw them: what was imported while it was at work is there, but not current. Raises SnnFusionError if
    neither cache nor remote has them.
    """
    with disk_errors(place):
        for name in RECORDED:
            write_atomic(place / name, (files / name).read_bytes())
        (place / "workspace").mkdir(parents=True, exist_ok=True)
        _configure(place, ws)
    dvc(place, "pull", "--quiet", IMPORTED, VALIDATED)
    restored = Workspace(place / "workspace")
    make_current(restored, restored.path("validated", SNAPSHOT))
    remove_tree(restored.path("validated"))


def dvc(project: Path, *arguments: str) -> str:
    """Run DVC in `project`; its standard output. Raises SnnFusionError with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if line.strip())[-2000:]
        if full := disk_error_in(done.stdout + done.stderr):
            raise BadInput(project, f"cannot write: {full}", DISK_REMEDY)
        raise SnnFusionError(f"dvc {arguments[0]} failed in {project}:\n{said}")
    return done.stdout


def _mimic_checkout(project: Path, params: Params, ws: Workspace) -> None:
    """What dvc.yaml names as seen from the checkout: code and lock file there, `workspace` here."""
    checkout = project_root()
    if not (checkout / STAGES).exists():
        raise BadInput(checkout / STAGES, "no such file", "run in the project's folder")
    project.mkdir(parents=True, exist_ok=True)
    _configure(project, ws)
    remove_tree(project / LOCK)  # it is made again, and a full disk may have left half of it
    for name in (STAGES, ".dvcignore"):
        write_atomic(project / name, (checkout / name).read_bytes())
    write_atomic(project / PARAMS, yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))
    for name, target in (("src", checkout / "src"), ("requirements.lock", checkout / "requirements.lock")):
        _link(project / name, target)
    _link(project / "workspace", ws.root)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    remove_tree(path)
    path.symlink_to(target)


def _configure(project: Path, ws: Workspace) -> None:
    """The checkout's DVC configuration (with what git ignores), its places in the workspace pointing to this one."""
    config = configparser.ConfigParser(interpolation=None)
    checkout = project_root() / ".dvc"
    config.read([checkout / "config", checkout / "config.local"])
    for section in config.sections():
        for key in {"url", "dir"} & set(config[section]):
            config[section][key] = _placed(config[section][key], checkout, ws)
    for section in ("core", "cache"):
        if not config.has_section(section):
            config.add_section(section)
    config["core"].update(no_scm="true", analytics="false", check_update="false")
    if url := os.environ.get(REMOTE):
        config["core"]["remote"] = "chosen"
        config["'remote \"chosen\"'"] = {"url": _placed(url, Path.cwd(), ws)}
    config["cache"].setdefault("dir", str(ws.path("dvc", "cache")))
    folder = project / ".dvc"
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / ".config"
    remove_tree(new)
    new.touch(mode=0o600)  # it may hold keys of a remote
    with new.open("w") as file:
        config.write(file)
    new.replace(folder / "config")


def _placed(value: str, base: Path, ws: Workspace) -> str:
    """A URL as it is; a path made absolute, the checkout's `workspace/` becoming this workspace."""
    if urlparse(value).scheme:
        return value
    path = Path(os.path.normpath(base / Path(value).expanduser()))
    inside = project_root() / "workspace"
    return str(ws.root / path.relative_to(inside) if path.is_relative_to(inside) else path)


def _recordings_md5(lock: Path) -> str:
    outs = yaml.safe_load(lock.read_text())["stages"]["import"]["outs"]
    return str(next(out["md5"] for out in outs if out["path"] == IMPORTED))
