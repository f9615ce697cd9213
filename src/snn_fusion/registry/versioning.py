"""The stage `push`: data, checkpoints and registry under DVC, in the remote, without a change to the checkout.

A private DVC project in the workspace stands for the checkout: its own dvc.lock beside links to the checkout's code
and to the workspace. So nothing that git tracks changes, and the lock is the very one that `dvc repro` would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from snn_fusion.config import Params
from snn_fusion.data.imported import LOCK as RECORDINGS_LOCK
from snn_fusion.data.imported import SNAPSHOT, check_pinned, make_current
from snn_fusion.errors import BadInput
from snn_fusion.registry import pushed, versions
from snn_fusion.registry.dvc_project import (
    LOCK,
    OPTIONS,
    PARAMS,
    RECORDED,
    REQUIREMENTS,
    STAGES,
    configure,
    dvc,
    lay_out,
    link,
)
from snn_fusion.registry.lineage import read_data_set
from snn_fusion.registry.snapshot import check, keep
from snn_fusion.registry.tracking import connect
from snn_fusion.strict_yaml import write_yaml
from snn_fusion.workspace import Workspace, disk_errors, project_root, remove_tree, write_atomic

IN_RUN = "dvc"  # folder of the recorded files among the run's artefacts
IMPORTED, VALIDATED = "workspace/recordings", "workspace/validated"
TAG = "recordings_md5"
AKIDA_IN_REMOTE = (
    "the remote now holds figures of Akida, which its licence forbids publishing: keep the remote private "
    "(docs/registry.md#dvc)"
)


def push(params: Params, ws: Workspace) -> dict[str, Any]:
    """Give the workspace's recordings, checkpoints and results to DVC and push them to its remote.

    The dvc.lock that leads to them is logged with the registered version's run and kept in dvc/locks/<data digest>/.
    The registry itself follows (see snapshot.py), so that `restore` needs the remote alone.
    Raises BadInput if the network in the workspace is not registered, or the record of promotions or a version has been
    altered, SnnFusionError if DVC or the remote fails.
    """
    with ws.lock("push"), disk_errors(ws.path("dvc")):
        registered = _registered(ws)
        data = read_data_set(ws).digest
        project = ws.path("dvc", "project")
        _mimic_checkout(project, params, ws)
        if done := pushed.last(ws, project, registered["model"]):
            return done | {"pushed": "Everything is up to date.", "up_to_date": True}
        client = connect(ws)
        check(client, registered["model"], ws)
        with ws.lock("push", RECORDINGS_LOCK):  # DVC must not see half of an import
            dvc(project, "commit", "--force")  # with --quiet it would not say what is wrong
        sent = dvc(project, "push").strip().splitlines()
        kept = ws.path("dvc", "locks", data)
        for name in RECORDED:
            write_atomic(kept / name, (project / name).read_bytes())
        md5 = _recordings_md5(project / LOCK)
        client.log_artifacts(registered["run_id"], str(kept), IN_RUN)
        client.set_model_version_tag(registered["model"], registered["version"], TAG, md5)
        akida = keep(ws, registered["model"], data)
        result = {
            "version": registered["version"],
            "data_digest": data,
            "recordings_md5": md5,
            "pushed": sent[-1] if sent else "",
            "up_to_date": bool(sent) and sent[-1].startswith("Everything is up to date"),
            "lock": str(kept / LOCK),
        } | ({"warnings": [AKIDA_IN_REMOTE]} if akida else {})
        pushed.note(ws, project, registered["model"], result)
        return result


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
        lay_out(files, place)
        (place / "workspace").mkdir(parents=True, exist_ok=True)
        configure(place, ws)
    dvc(place, "pull", "--quiet", IMPORTED, VALIDATED)
    restored = Workspace(place / "workspace")
    make_current(restored, restored.path("validated", SNAPSHOT))
    remove_tree(restored.path("validated"))


def _mimic_checkout(project: Path, params: Params, ws: Workspace) -> None:
    """What dvc.yaml names as seen from the checkout: code and lock file there, `workspace` here."""
    checkout = project_root()
    if not (checkout / STAGES).exists():
        raise BadInput(checkout / STAGES, "no such file", "run in the project's folder")
    project.mkdir(parents=True, exist_ok=True)
    configure(project, ws)
    remove_tree(project / LOCK)  # it is made again, and a full disk may have left half of it
    for name in (STAGES, ".dvcignore"):
        write_atomic(project / name, (checkout / name).read_bytes())
    write_atomic(project / PARAMS, write_yaml(params))
    write_atomic(project / OPTIONS, yaml.safe_dump({"speakers": "skip" if _speakers_skipped(ws) else "train"}))
    for name in ("src", REQUIREMENTS):
        link(project / name, checkout / name)
    link(project / "workspace", ws.root)


def _speakers_skipped(ws: Workspace) -> bool:
    from snn_fusion.benchmark.speakers import SKIP, STAGE

    return bool(ws.stamp(STAGE)["inputs"] == SKIP)


def _recordings_md5(lock: Path) -> str:
    outs = yaml.safe_load(lock.read_text())["stages"]["import"]["outs"]
    return str(next(out["md5"] for out in outs if out["path"] == IMPORTED))
