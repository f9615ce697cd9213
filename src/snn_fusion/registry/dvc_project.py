"""Private DVC projects in the workspace: the checkout's configuration and remote, without a change to the checkout."""

from __future__ import annotations

import configparser
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.processes import ALONE
from snn_fusion.workspace import DISK_REMEDY, Workspace, disk_error_in, project_root, remove_tree, write_atomic

REMOTE = "SNN_FUSION_DVC_REMOTE"
LOCK, STAGES, PARAMS, OPTIONS = "dvc.lock", "dvc.yaml", "params.yaml", "dvc-options.yaml"
REQUIREMENTS = "requirements.lock"
RECORDED = (LOCK, STAGES, PARAMS, OPTIONS, REQUIREMENTS)


def dvc(project: Path, *arguments: str) -> str:
    """Run DVC in `project`; its standard output. Raises SnnFusionError with what it said."""
    done = subprocess.run(
        [sys.executable, *ALONE, "-m", "dvc", *arguments],
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


def configure(project: Path, ws: Workspace) -> None:
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


def link(path: Path, target: Path) -> None:
    """`path` as a link to `target`, whatever it was before."""
    if path.is_symlink() and path.readlink() == target:
        return
    remove_tree(path)
    path.symlink_to(target)


def lay_out(files: Path, place: Path) -> None:
    """Copy what `push` recorded; before it recorded more, it recorded three files."""
    for name in RECORDED:
        if (files / name).exists() or name in (LOCK, STAGES, PARAMS):
            write_atomic(place / name, (files / name).read_bytes())


@contextlib.contextmanager
def _remote(project: Path) -> Iterator[tuple[Any, str]]:
    """The file system of the project's remote, and its root there. Raises SnnFusionError for what goes wrong there."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(project)) as repo:
            remote = repo.cloud.get_remote()
            yield remote.fs, remote.path
    except (DvcException, OSError) as error:
        raise SnnFusionError(f"the DVC remote of {project} cannot be used: {error}") from error


def put_in_remote(project: Path, file: Path, name: str) -> None:
    """Copy a file to the project's remote, under a name of its own beside DVC's. Raises SnnFusionError."""
    with _remote(project) as (fs, root):
        fs.makedirs(fs.parent(fs.join(root, name)), exist_ok=True)
        fs.put_file(str(file), fs.join(root, name))


def get_from_remote(project: Path, name: str, file: Path) -> str | None:
    """Copy such a file from the remote, if it is there; None, else the remote's place in words."""
    with _remote(project) as (fs, root):
        if not fs.exists(fs.join(root, name)):
            return str(root)
        file.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(fs.join(root, name), str(file))
        return None
