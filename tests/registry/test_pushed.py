"""A push that would send the same again starts no DVC; whatever changed here or in the remote is sent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import dvc_project, snapshot, versioning
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.register import register
from snn_fusion.registry.snapshot import pointer
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versioning import push
from snn_fusion.registry.versions import find
from snn_fusion.workspace import Workspace
from tests.registry.conftest import put_evaluation, put_network
from tests.registry.test_seals import graph_in_store, stored

Change = Callable[[Workspace, Params, Path], Params | None]


LOCK = "stages: {import: {outs: [{path: workspace/recordings, md5: m}]}}"


class Dvc:
    """Stands for DVC, whose processes take seconds each: notes its calls, and has the remote hold a file."""

    def __init__(self, remote: Path) -> None:
        self.remote, self.calls = remote, list[str]()

    def run(self, project: Path, *arguments: str) -> str:
        self.calls.append(arguments[0])
        if arguments[0] == "commit":
            (project / "dvc.lock").write_text(LOCK)
        elif arguments[0] == "add":
            (project / "registry.dvc").write_text("outs")
        else:
            (self.remote / "files").mkdir(parents=True, exist_ok=True)
            (self.remote / "files" / "one").write_text("of the registry")
        return ""

    def put(self, project: Path, file: Path, name: str) -> None:
        (self.remote / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, self.remote / name)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(dvc_project.REMOTE, str(tmp_path / "remote"))
    return tmp_path / "remote"


@pytest.fixture
def dvc(remote: Path, monkeypatch: pytest.MonkeyPatch) -> Dvc:
    made = Dvc(remote)
    for module in (versioning, snapshot):
        monkeypatch.setattr(module, "dvc", made.run)
    monkeypatch.setattr(snapshot, "put_in_remote", made.put)
    return made


@pytest.fixture
def pushed(ready: Workspace, params: Params, dvc: Dvc) -> Workspace:
    """A workspace that was registered, promoted and pushed."""
    register(params, ready)
    promote(params, ready)
    push(params, ready)
    dvc.calls.clear()
    return ready


def new_version(ws: Workspace, params: Params, remote: Path) -> None:
    put_network(ws, params, seed=1)
    put_evaluation(ws)
    register(params, ws)


def promotion(ws: Workspace, params: Params, remote: Path) -> None:
    new_version(ws, params, remote)
    push(params, ws)
    assert promote(params, ws)["up_to_date"] is False


def evaluation(ws: Workspace, params: Params, remote: Path) -> None:
    put_evaluation(ws, {"clean": 7})
    register(params, ws)


def bento(ws: Workspace, params: Params, remote: Path) -> None:
    ws.path("bentoml").mkdir()
    ws.path("bentoml", "bento.yaml").write_text("a bento")


def no_pointer(ws: Workspace, params: Params, remote: Path) -> None:
    (remote / pointer("snn-fusion")).unlink()


def a_file_gone(ws: Workspace, params: Params, remote: Path) -> None:
    """Another one in its place, so that there are as many as before."""
    (remote / "files" / "one").rename(remote / "files" / "of-somebody-else")


def a_file_cut(ws: Workspace, params: Params, remote: Path) -> None:
    (remote / "files" / "one").write_text("of the reg")


def recordings(ws: Workspace, params: Params, remote: Path) -> None:
    """Imported while the network of before is still the one that is registered."""
    shutil.copytree(ws.path("recordings", "lab"), ws.path("recordings", "lab-2"))
    stamp = json.loads(ws.path("recordings", "stage.json").read_text())
    ws.path("recordings", "stage.json").write_text(json.dumps(stamp | {"digest": "another"}))


def other_params(ws: Workspace, params: Params, remote: Path) -> Params:
    return params.model_copy(update={"seed": params.seed + 1})


CHANGES = (
    new_version,
    promotion,
    evaluation,
    bento,
    no_pointer,
    a_file_gone,
    a_file_cut,
    recordings,
    other_params,
)


def test_a_second_push_starts_no_dvc(pushed: Workspace, params: Params, dvc: Dvc) -> None:
    first = json.loads(pushed.path("dvc", "pushed.json").read_text())["result"]
    again = push(params, pushed)
    assert dvc.calls == []
    assert again == first | {"up_to_date": True, "pushed": "Everything is up to date."}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_is_pushed(pushed: Workspace, params: Params, remote: Path, dvc: Dvc, change: Change) -> None:
    params = change(pushed, params, remote) or params
    dvc.calls.clear()
    push(params, pushed)
    assert dvc.calls == ["commit", "push", "add", "push"]
    assert (remote / pointer("snn-fusion")).is_file()
    dvc.calls.clear()
    assert push(params, pushed)["up_to_date"] and dvc.calls == []


def test_another_remote_gets_all_of_it(
    pushed: Workspace, params: Params, tmp_path: Path, dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc.remote = tmp_path / "elsewhere"
    monkeypatch.setenv(dvc_project.REMOTE, str(dvc.remote))
    push(params, pushed)
    assert dvc.calls and (tmp_path / "elsewhere" / pointer("snn-fusion")).is_file()


def test_a_remote_that_is_no_folder_is_asked_each_time(
    pushed: Workspace, params: Params, remote: Path, dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dvc_project.REMOTE, remote.as_uri())
    for _ in range(2):
        dvc.calls.clear()
        push(params, pushed)
        assert dvc.calls


def test_an_altered_record_is_refused_before_anything_is_sent(pushed: Workspace, params: Params, dvc: Dvc) -> None:
    path = pushed.path(RECORD)
    before = path.stat()
    path.write_text(path.read_text().replace('"version": "1"', '"version": "9"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(BadInput, match="is not as the registry's record has it"):
        push(params, pushed)
    assert dvc.calls == []


@pytest.mark.parametrize("name", ["graph", "evaluation.json", "predictions.parquet"])
def test_a_file_of_a_version_that_was_altered_or_is_gone_is_refused_by_name(
    pushed: Workspace, params: Params, remote: Path, dvc: Dvc, name: str
) -> None:
    newest = (remote / pointer("snn-fusion")).read_bytes()
    path = graph_in_store(pushed, "1") / "graph.json" if name == "graph" else stored(pushed, "1", name)
    right = path.read_bytes()
    path.write_bytes(right[:-1] + b" ")
    with pytest.raises(BadInput, match="but the files give" if name == "graph" else f"version 1: {name}"):
        push(params, pushed)
    path.unlink()
    with pytest.raises(BadInput, match=f"{path.name}.* missing"):
        push(params, pushed)
    assert dvc.calls == [] and (remote / pointer("snn-fusion")).read_bytes() == newest
    path.write_bytes(right)
    push(params, pushed)
    assert dvc.calls


def test_versions_that_have_not_changed_are_not_read_again(
    pushed: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, read = connect(pushed), []
    monkeypatch.setattr("snn_fusion.registry.seals.check_graph", lambda folder, version, tags: read.append(version))
    snapshot.check(client, "snn-fusion", pushed)
    assert read == []
    new_version(pushed, params, pushed.root)
    snapshot.check(client, "snn-fusion", pushed)
    assert read == ["version 2"]
    assert find(client, "snn-fusion", "2").tags["graph_digest"]
