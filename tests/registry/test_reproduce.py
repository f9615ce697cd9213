"""What `push` and `reproduce` refuse, fall back to and report, without a pipeline run."""

from __future__ import annotations

import configparser
import json
import subprocess
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import dvc_project, versioning
from snn_fusion.registry import reproduce as module
from snn_fusion.registry.lineage import lock_digest
from snn_fusion.registry.register import register
from snn_fusion.registry.reproduce import reproduce, tensor_differences
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import find
from snn_fusion.workspace import Workspace, git_commit
from tests.registry.conftest import ROOT, put, put_evaluation, put_network


def test_a_version_that_was_never_pushed_is_named_with_the_remedy(ready: Workspace, params: Params) -> None:
    register(params, ready)
    with pytest.raises(BadInput, match=r"version 1: it was never pushed.*run `snn-fusion push`"):
        reproduce(params, ready, version="challenger")
    assert not ready.path("reproduce").exists()


def test_a_version_that_there_is_not_is_named(ready: Workspace, params: Params) -> None:
    register(params, ready)
    with pytest.raises(BadInput, match=r"no version or alias '5' .registered: 1"):
        reproduce(params, ready, version="5")


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        ("0" * 40 + "-dirty", "changes to 000000000000 that were never committed"),
        ("1" * 40, "commit 111111111111 is not in this repository"),
        ("unknown", "commit unknown is not in this repository"),
    ],
)
def test_a_commit_that_cannot_be_had_is_said(
    ready: Workspace, params: Params, tmp_path: Path, commit: str, said: str
) -> None:
    put_network(ready, params, commit=commit)
    put_evaluation(ready)
    register(params, ready)
    version = find(connect(ready), "snn-fusion", "1")
    assert version.tags["commit"] == commit
    code, note = module._checkout(version, tmp_path / "code")
    assert code == ROOT and said in note


def test_a_recorded_commit_is_checked_out_beside(ready: Workspace, params: Params, tmp_path: Path) -> None:
    commit = git_commit(ROOT).removesuffix("-dirty")
    before = subprocess.check_output(["git", "-C", str(ROOT), "worktree", "list"])
    put_network(ready, params, commit=commit)
    put_evaluation(ready)
    register(params, ready)
    code, note = module._checkout(find(connect(ready), "snn-fusion", "1"), tmp_path / "code")
    assert code == tmp_path / "code" and note == f"commit {commit[:12]}"
    assert git_commit(code) == commit
    assert subprocess.check_output(["git", "-C", str(ROOT), "worktree", "list"]) == before


def test_what_differs_is_reported_and_kept(
    ready: Workspace, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    register(params, ready)
    version = find(connect(ready), "snn-fusion", "1")
    put_network(ready, params, seed=1)  # stands for what was rebuilt
    result = module._compare(version, ready, "the code as it is here", ready)
    module._show(result)
    assert not result["same_weights"]
    assert set(result["differences"]) == {"weights_digest"}
    assert result["differences"]["weights_digest"]["recorded"] == version.tags["weights_digest"]
    assert 0 < result["tensors"]["joint.audio"] < 10
    assert result["kept"] == str(ready.root.parent)
    assert "tensor joint.audio" in capsys.readouterr().err
    json.dumps(result)


def test_tensors_of_another_shape_are_told_apart(ready: Workspace, params: Params, tmp_path: Path) -> None:
    old = ready.path("trained", "graph").rename(tmp_path / "old")
    network = params.network.model_copy(update={"joint": 7})
    put_network(ready, params.model_copy(update={"network": network}))
    found = tensor_differences(old, ready.path("trained", "graph"))
    assert found["readout"] == {"recorded_shape": [9, 10], "rebuilt_shape": [7, 10]}
    assert "input.audio" not in found or isinstance(found["input.audio"], float)


def test_push_wants_what_lies_here_to_be_registered(ready: Workspace, params: Params) -> None:
    with pytest.raises(BadInput, match=r"run `snn-fusion register`"):
        versioning.push(params, ready)
    register(params, ready)
    put_network(ready, params, seed=1)
    with pytest.raises(BadInput, match=r"is of another network"):
        versioning.push(params, ready)
    put_network(ready, params, seed=0)
    put(ready, "recordings", lambda out: (out / "new.wav").write_bytes(b"new"))
    with pytest.raises(BadInput, match=r"lab: no such folder, though the network was trained on it"):
        versioning.push(params, ready)


def test_push_takes_no_notice_of_what_was_imported_during_the_run(ready: Workspace, params: Params) -> None:
    register(params, ready)
    (ready.path("recordings", "other")).mkdir()
    (ready.path("recordings", "other", "new.wav")).write_bytes(b"new")
    assert versioning.push(params, ready)["recordings_md5"]


def test_push_logs_the_lock_with_the_run_and_keeps_it_by_data_digest(ready: Workspace, params: Params) -> None:
    registered = register(params, ready)
    result = versioning.push(params, ready)
    client = connect(ready)
    files = {f.path for f in client.list_artifacts(registered["run_id"], "dvc")}
    assert files == {f"dvc/{name}" for name in dvc_project.RECORDED}
    assert {"dvc/dvc.lock", "dvc/dvc.yaml", "dvc/params.yaml", "dvc/dvc-options.yaml"} <= files
    assert Path(result["lock"]) == ready.path("dvc", "locks", registered["data_digest"], "dvc.lock")
    assert find(client, "snn-fusion", "1").tags["recordings_md5"] == result["recordings_md5"]
    assert any(ready.path("dvc", "remote").rglob("*.dir"))
    assert "up to date" in versioning.push(params, ready)["pushed"]


def test_the_remote_can_be_chosen(
    ready: Workspace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dvc_project.REMOTE, str(tmp_path / "elsewhere"))
    register(params, ready)
    versioning.push(params, ready)
    assert any((tmp_path / "elsewhere").rglob("*.dir")) and not ready.path("dvc", "remote").exists()
    config = configparser.ConfigParser()
    file = ready.path("dvc", "project", ".dvc", "config")
    config.read(file)
    assert config["core"]["remote"] == "chosen"
    assert file.stat().st_mode & 0o077 == 0  # keys of a remote are nobody else's business


def test_a_remote_that_cannot_be_written_is_an_error_that_says_so(
    ready: Workspace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(dvc_project.REMOTE, str(tmp_path / "file" / "remote"))
    register(params, ready)
    with pytest.raises(SnnFusionError, match=r"dvc push failed"):
        versioning.push(params, ready)


def test_the_lock_of_the_environment_is_recorded(ready: Workspace, params: Params) -> None:
    register(params, ready)
    assert find(connect(ready), "snn-fusion", "1").tags["lock_digest"] == lock_digest() != "unknown"
