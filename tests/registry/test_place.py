"""A workspace that is moved or copied: it works where it lies, and nothing is written to where it lay."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.registry.models import resolve_model
from snn_fusion.registry.place import RECORD, settle, settle_airflow
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.services import Services, end_leftovers
from snn_fusion.registry.tracking import connect, database
from snn_fusion.workspace import Workspace, remove_tree, tree_digest
from tests.registry.conftest import put_evaluation, put_network


@pytest.fixture(params=["mv", "cp", "mv, place not recorded", "cp, place not recorded"])
def moved(request: pytest.FixtureRequest, ready: Workspace, params: Params, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with a champion, elsewhere; the place where it was is gone, or must stay as it is."""
    register(params, ready)
    promote(params, ready)
    if "not recorded" in request.param:  # as releases before this one left it
        with sqlite3.connect(database(ready)) as db:
            db.execute(f"DROP TABLE {RECORD}")
        db.close()
    elsewhere = Workspace(tmp_path / "a place with spaces" / "ws")
    elsewhere.root.parent.mkdir()
    if request.param.startswith("mv"):
        ready.root.rename(elsewhere.root)
        yield elsewhere
        assert not ready.root.exists()
    else:
        shutil.copytree(ready.root, elsewhere.root, symlinks=True)
        before = tree_digest(ready.root)
        yield elsewhere
        assert tree_digest(ready.root) == before


def test_a_moved_or_copied_workspace_registers_serves_and_promotes_in_its_place(
    moved: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_HOME", str(moved.root))
    remove_tree(moved.path("cache"))
    assert load_graph(resolve_model(params, moved, "champion")).digest == load_graph(moved.path("trained/graph")).digest
    remove_tree(moved.path("registered"))
    assert register(params, moved)["version"] == "1"
    assert len(connect(moved).search_registered_models()[0].latest_versions) == 1
    put_network(moved, params, seed=1)
    put_evaluation(moved)
    assert register(params, moved)["version"] == "2"
    assert promote(params, moved)["champion_before"] == "1"
    assert len(list(moved.path("mlflow", "artifacts", "models").glob("m-*"))) == 2
    runs = connect(moved).search_runs(["1"])
    places = [run.info.artifact_uri for run in runs]
    places += [one.dataset.source for run in runs for one in run.inputs.dataset_inputs]
    assert len(places) > len(runs) and all(moved.root.as_uri() in place for place in places)


def test_two_copies_go_their_own_ways(ready: Workspace, params: Params, tmp_path: Path) -> None:
    register(params, ready)
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(ready.root, copy.root)
    for seed, ws in enumerate((copy, ready, copy), start=1):
        put_network(ws, params, seed=seed)
        put_evaluation(ws)
        register(params, ws)
    for ws, count in ((ready, 2), (copy, 3)):
        assert len(connect(ws).search_model_versions("name='snn-fusion'")) == count
        assert len(list(ws.path("mlflow", "artifacts", "models").glob("m-*"))) == count


def test_what_an_earlier_release_wrote_into_the_old_place_is_fetched_from_there(
    ready: Workspace, params: Params, tmp_path: Path
) -> None:
    register(params, ready)
    with sqlite3.connect(database(ready)) as db:
        db.execute(f"DROP TABLE {RECORD}")
    db.close()
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(ready.root, copy.root)
    remove_tree(copy.path("mlflow", "artifacts"))
    assert resolve_model(params, copy, "1").is_relative_to(copy.root)
    assert tree_digest(copy.path("mlflow", "artifacts")) == tree_digest(ready.path("mlflow", "artifacts"))


def test_places_below_a_folder_with_a_longer_name_stay(ready: Workspace, params: Params) -> None:
    register(params, ready)
    shorter = str(ready.root)[:-1]
    with sqlite3.connect(database(ready)) as db:
        db.execute(f"UPDATE {RECORD} SET root = ?", (shorter,))
    db.close()
    settle(database(ready), ready.root)
    place = connect(ready).get_experiment_by_name("snn-fusion").artifact_location
    assert place == f"{ready.root.as_uri()}/mlflow/artifacts"


def test_places_of_the_users_own_stay(empty_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "ws" / "mlflow" / "mlflow.db"
    store.parent.mkdir(parents=True)
    shutil.copyfile(empty_store, store)
    theirs = {"7": "s3://bucket/mlflow/artifacts", "8": "file:///mnt/nas/mlruns"}
    with sqlite3.connect(store) as db:
        for number, uri in theirs.items():
            db.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace)"
                " VALUES (?, ?, ?, 'active', 'default')",
                (number, f"theirs {number}", uri),
            )
    db.close()
    settle(store, tmp_path / "ws")
    with sqlite3.connect(store) as db:
        found = dict(db.execute("SELECT CAST(experiment_id AS TEXT), artifact_location FROM experiments"))
    db.close()
    assert found == {"0": f"{(tmp_path / 'ws').as_uri()}/mlflow/artifacts/0", **theirs}


def test_airflows_folders_are_those_of_the_workspace(tmp_path: Path) -> None:
    old, new = "/somewhere/else/airflow", tmp_path / "airflow"
    new.mkdir()
    lines = f"[core]\nplugins_folder = {old}/plugins\nfernet_key = k\n[logging]\nbase_log_folder = {old}/logs\n"
    (new / "airflow.cfg").write_text(lines)
    settle_airflow(new)
    assert (new / "airflow.cfg").read_text() == lines.replace(old, str(new))
    settle_airflow(new)
    settle_airflow(tmp_path / "none")
    assert json.dumps(sorted(path.name for path in new.iterdir())) == '["airflow.cfg"]'


def test_processes_of_the_original_are_none_of_a_copys_and_still_those_of_a_moved_workspace(tmp_path: Path) -> None:
    original, copy, moved = (tmp_path / name / "ui.json" for name in ("original", "copy", "moved"))
    for one in (original, copy, moved):
        one.parent.mkdir()
    with Services(original):
        shutil.copyfile(original, copy)
        assert end_leftovers(copy, "snn-fusion ui") == [] and not copy.exists()
        with pytest.raises(BadInput, match="is already running"):
            end_leftovers(original, "snn-fusion ui")
        original.rename(moved)
        with pytest.raises(BadInput, match="is already running"):
            end_leftovers(moved, "snn-fusion ui")
