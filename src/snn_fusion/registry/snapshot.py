"""What a workspace knows beyond its data, in the DVC remote: registry, record of promotions, locks and Bentos.

`push` leaves it there as one folder under DVC, with a pointer to it beside DVC's own files; `restore` brings it and the
data back into an empty workspace.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import record, versions
from snn_fusion.registry.dvc_project import configure, dvc, get_from_remote, lay_out, link, put_in_remote
from snn_fusion.registry.sealed import check_registry
from snn_fusion.registry.tracking import artifact_root, connect, database, on_server
from snn_fusion.targets.names import AKIDA
from snn_fusion.workspace import Workspace, disk_errors, project_root, remove_tree, write_atomic

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEMA = 1
FOLDER, TRACKED, FACTS = "registry", "registry.dvc", "snapshot.json"
# Of the workspace, beside MLflow's store. Nothing here is secret: keys, Airflow and its passwords stay where they are.
PARTS = (record.RECORD, "reference", "registered", "packaged", "bentoml", "dvc/locks")
COPIES = "promotions-*.jsonl"  # of other registries' records
RESTORING = ("dvc", "registry", "restoring")  # there while a restore is at work, or was killed
HIDDEN = ".hidden"
STORE = ("mlflow/artifacts", "mlflow/mlflow.db")  # the database last: with it the registry is there


def pointer(model: str) -> str:
    """Where the remote says which folder is the newest snapshot of a model's registry."""
    return f"snn-fusion/{model}.json"


def keep(ws: Workspace, model: str, data_digest: str) -> bool:
    """Put the registry as it is now into the remote; whether it holds figures of Akida.

    The caller holds the workspace's lock, and has let `check` look at the registry.
    """
    project = ws.path("dvc", "registry")
    folder = project / FOLDER
    project.mkdir(parents=True, exist_ok=True)
    configure(project, ws)
    write_atomic(project / ".dvcignore", "")
    remove_tree(folder)
    for part in (*PARTS, *copies(ws.root)):
        _copy(ws.path(part), folder / part)
    if not on_server():
        _copy_database(database(ws), folder / STORE[1])
        _copy(artifact_root(ws), folder / STORE[0])  # after the database: all that it names is there
    facts = {"schema": SCHEMA, "model": model, "data_digest": data_digest}
    write_atomic(folder / FACTS, json.dumps(facts, indent=1))
    akida = holds_akida_figures(folder)
    _hide(folder)
    dvc(project, "add", "--quiet", FOLDER)
    dvc(project, "push", "--quiet", TRACKED)
    note = {"schema": SCHEMA, "pushed": datetime.now(UTC).isoformat(timespec="seconds"), "dvc": _text(project)}
    write_atomic(project / "pointer.json", json.dumps(note, indent=1))
    put_in_remote(project, project / "pointer.json", pointer(model))
    remove_tree(folder)  # DVC's cache has it
    return akida


def check(client: MlflowClient, model: str, ws: Workspace) -> None:
    """Raises BadInput if the record of promotions or a file of a version has been altered.

    Before anything is sent: the newest good copy stays the one that the remote leads to.
    """
    record.read(client, model, ws)
    check_registry(client, model, ws)


def restore(params: Params, ws: Workspace) -> dict[str, Any]:
    """Bring back what the newest `push` to the remote left there: registry, record, locks, Bentos, and that run's data.

    Killed, it can be run again. Raises BadInput if the workspace is not empty, the remote holds none of this model or
    the record of promotions has been altered, SnnFusionError if DVC or the remote fails.
    """
    model = params.registry.model
    with ws.lock("restore"), disk_errors(ws.root):
        _check_empty(ws)
        if on_server():
            connect(ws)  # a server that does not answer is found before anything is fetched
        facts, pushed = _fetch(ws, model)
        folder = ws.path("dvc", "registry", FOLDER)
        _fetch_data(ws, folder / "dvc" / "locks" / facts["data_digest"])
        for part in (*PARTS, *copies(folder), *STORE):
            _move(folder / part, ws.path(part))
        remove_tree(folder)
        remove_tree(ws.path(*RESTORING))
        client = connect(ws)  # which makes the places in MLflow's database those of this workspace
        record.read(client, model, ws)
    champion = versions.by_alias(client, model, versions.CHAMPION)
    return {
        "model": model,
        "versions": [version.number for version in versions.every(client, model)],
        "champion": champion.number if champion else None,
        "pushed": pushed,
        "data_digest": facts["data_digest"],
        "lock": str(ws.path("dvc", "locks", facts["data_digest"], "dvc.lock")),
    }


def holds_akida_figures(folder: Path) -> bool:
    """Whether an evaluation below `folder` has measured an Akida chip."""
    for path in folder.rglob("targets.json"):
        chips = json.loads(path.read_text())["targets"]
        if any(chip["state"] == "measured" for name, chip in chips.items() if name in AKIDA):
            return True
    return False


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(COPIES))


def _check_empty(ws: Workspace) -> None:
    """Nothing that is here is overwritten, but what a killed restore left."""
    there = [path for path in (database(ws), ws.path("recordings"), ws.path("trained")) if path.exists()]
    if there and not ws.path(*RESTORING).exists():
        remedy = "restore into an empty workspace: set SNN_FUSION_HOME to a new folder"
        raise BadInput(there[0], "this workspace is not empty", remedy)


def _fetch(ws: Workspace, model: str) -> tuple[dict[str, Any], str]:
    """The newest snapshot, in dvc/registry/; its facts, and when it was pushed."""
    project = ws.path("dvc", "registry")
    project.mkdir(parents=True, exist_ok=True)
    configure(project, ws)
    write_atomic(project / ".dvcignore", "")
    if place := get_from_remote(project, pointer(model), project / "pointer.json"):
        problem = f"holds no registry of model {model}"
        raise BadInput(f"DVC remote {place}", problem, "run `snn-fusion push` where it is, or name another remote")
    try:
        note = json.loads((project / "pointer.json").read_text())
        write_atomic(project / TRACKED, note["dvc"])
    except (ValueError, KeyError) as error:
        raise BadInput(project / "pointer.json", f"not a pointer to a registry: {error!r}", "push again") from None
    write_atomic(ws.path(*RESTORING), "")
    dvc(project, "pull", "--quiet", "--force", TRACKED)
    _show(project / FOLDER)
    facts: dict[str, Any] = json.loads((project / FOLDER / FACTS).read_text())
    if facts["schema"] != SCHEMA:
        raise BadInput(project / FOLDER / FACTS, f"schema {facts['schema']} is not {SCHEMA}", "use a matching version")
    return facts, str(note["pushed"])


def _fetch_data(ws: Workspace, recorded: Path) -> None:
    """Recordings, data set, network and evaluation that the recorded dvc.lock names, into the workspace."""
    project = ws.path("dvc", "project")
    project.mkdir(parents=True, exist_ok=True)
    configure(project, ws)
    lay_out(recorded, project)
    write_atomic(project / ".dvcignore", (project_root() / ".dvcignore").read_bytes())
    link(project / "src", project_root() / "src")
    link(project / "workspace", ws.root)
    dvc(project, "pull", "--quiet", "--force")


def _hide(folder: Path) -> None:
    """Give what DVC would read itself, such as the recorded dvc.yaml of a run, another name."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.name in ("dvc.yaml", ".dvcignore") or path.suffix in (".dvc", HIDDEN):
            path.rename(path.with_name(path.name + HIDDEN))


def _show(folder: Path) -> None:
    for path in sorted(folder.rglob(f"*{HIDDEN}"), reverse=True):
        path.rename(path.with_name(path.name.removesuffix(HIDDEN)))


def _text(project: Path) -> str:
    return (project / TRACKED).read_text()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own backup: whole, whoever is writing meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _move(source: Path, target: Path) -> None:
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_tree(target)
        source.rename(target)
