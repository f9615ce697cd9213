"""After `push`, the DVC remote alone gives a fresh clone everything back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from snn_fusion.benchmark.stage import split_rows
from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.registry import dvc_project, ledger
from snn_fusion.registry.models import resolve_model
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.register import register
from snn_fusion.registry.snapshot import pointer, restore
from snn_fusion.registry.tracking import connect, database
from snn_fusion.registry.versioning import push
from snn_fusion.registry.versions import find as find_version
from snn_fusion.registry.versions import run_file
from snn_fusion.targets.artefact import save_artefact
from snn_fusion.targets.contract import Artefact
from snn_fusion.workspace import Workspace, file_digest
from tests.registry.conftest import ROOT, put, put_comparison


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(dvc_project.REMOTE, str(tmp_path / "remote"))
    return tmp_path / "remote"


def files_below(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_registry_record_locks_bentos_and_data_come_back_from_the_remote_alone(
    ready: Workspace, params: Params, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(params, ready)
    push(params, ready)
    assert promote(params, ready)["promoted"]  # the second push renews what the first one left
    bento = ready.path("bentoml", "bentos", "snn-fusion", "1-abc", "bento.yaml")
    bento.parent.mkdir(parents=True)
    bento.write_text("a bento")
    pushed = push(params, ready)
    assert "warnings" not in pushed  # Akida was not measured
    before = {stage: files_below(ready.path(stage)) for stage in ("recordings", "validated", "trained", "evaluated")}
    network = load_graph(ready.path("trained", "graph")).weights_digest
    record = ready.path(RECORD).read_bytes()
    ready.root.rename(tmp_path / "gone")  # nothing can be read from the old place

    new = Workspace(tmp_path / "elsewhere")
    monkeypatch.setenv("SNN_FUSION_HOME", str(new.root))
    result = restore(params, new)

    assert (result["versions"], result["champion"]) == (["1"], "1")
    assert result["data_digest"] == pushed["data_digest"]
    assert load_graph(resolve_model(params, new, "champion")).weights_digest == network
    assert resolve_model(params, new, None).is_relative_to(new.root)
    version = find_version(connect(new), "snn-fusion", "1")
    assert json.loads(run_file(version, "evaluation.json", new).read_text())["schema"] == 1
    assert new.path(RECORD).read_bytes() == record and len(ledger.read(new.path(RECORD))) == 1
    assert new.path(*bento.relative_to(ready.root).parts).read_text() == "a bento"
    assert {stage: files_below(new.path(stage)) for stage in before} == before
    assert split_rows(new)
    requirements = new.path("dvc", "locks", result["data_digest"], "requirements.lock")
    assert requirements.read_bytes() == (ROOT / "requirements.lock").read_bytes()
    assert not (tmp_path / "home").exists()  # nothing was written to the old place
    assert promote(params, new)["reason"] == "version 1 is the champion"
    with closing(sqlite3.connect(database(new))) as known:
        places = [uri for (uri,) in known.execute("SELECT artifact_uri FROM runs")]
    assert places and all(uri.startswith(new.root.as_uri()) for uri in places)


def test_a_workspace_that_is_not_empty_is_left_alone(ready: Workspace, params: Params, remote: Path) -> None:
    for _ in range(2):  # with a registry, and with recordings alone
        with pytest.raises(BadInput, match=r"this workspace is not empty \(restore into an empty workspace"):
            restore(params, ready)
        database(ready).unlink(missing_ok=True)


def test_a_remote_without_a_registry_is_named_with_the_remedy(params: Params, remote: Path, tmp_path: Path) -> None:
    remote.mkdir()
    new = Workspace(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=r"remote: holds no registry of model snn-fusion \(run `snn-fusion push`"):
        restore(params, new)
    assert not database(new).exists()


def test_a_pointer_that_is_damaged_is_refused(params: Params, remote: Path, tmp_path: Path) -> None:
    (remote / pointer("snn-fusion")).parent.mkdir(parents=True)
    (remote / pointer("snn-fusion")).write_text("{}")
    with pytest.raises(BadInput, match="not a pointer to a registry"):
        restore(params, Workspace(tmp_path / "elsewhere"))


def test_push_refuses_an_altered_record_and_the_good_copy_stays(
    ready: Workspace, params: Params, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(params, ready)
    promote(params, ready)
    push(params, ready)
    good = ready.path(RECORD).read_text()
    ready.path(RECORD).write_text(good.replace('"promoted": true', '"promoted": false'))
    with pytest.raises(BadInput, match=r"promotions.jsonl: line 1: is not as the registry's record has it"):
        push(params, ready)
    new = Workspace(tmp_path / "elsewhere")
    monkeypatch.setenv("SNN_FUSION_HOME", str(new.root))
    assert restore(params, new)["champion"] == "1"
    assert new.path(RECORD).read_text() == good


def test_push_says_that_a_remote_with_figures_of_akida_must_stay_private(
    ready: Workspace, params: Params, remote: Path
) -> None:
    chip = {
        "state": "measured",
        "passed": True,
        "measurements": [],
        "fidelity": {},
        "compiled": {"conformance": {"tool": "t"}},
    }
    put_comparison(ready)
    put(ready, "compiled/akida2", lambda out: save_artefact(out, Artefact("akida2", {}, {})))
    chip["compiled"] |= {"digest": ready.path("compiled", "akida2", "digest").read_text().strip()}
    put(ready, "compared", lambda out: None)
    put_comparison(ready, akida2=chip)
    put(ready, "compiled/akida2", lambda out: save_artefact(out, Artefact("akida2", {}, {})))
    put(ready, "measured/akida2", lambda out: (out / "measured.json").write_text("{}"))
    register(params, ready)
    (said,) = push(params, ready)["warnings"]
    assert "figures of Akida" in said and "keep the remote private" in said
