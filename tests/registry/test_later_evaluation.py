"""A later evaluation of a registered network: it decides, is served and packaged, and its files are checked as well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.network.graph import load_graph
from snn_fusion.registry import versions
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.seals import Altered
from snn_fusion.registry.tracking import URI, connect
from snn_fusion.serving.load import named
from snn_fusion.serving.package import package
from snn_fusion.serving.packaged import load_package
from snn_fusion.serving.records import Records
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import Workspace, remove_tree
from tests.registry.conftest import kill_after, put_comparison, put_data, put_evaluation, put_network


def evaluated(ws: Workspace, params: Params, seed: int, mistakes: int, by_step: float, commit: str = "first") -> None:
    """A network, and an evaluation of it that says which network it is of."""
    put_network(ws, params, seed=seed, commit=commit)
    put_evaluation(ws, {"n3": mistakes})
    put_comparison(ws, akida={"state": "unavailable", "why": f"by_step {by_step}"})
    graph, path = load_graph(ws.path("trained", "graph")), ws.path("evaluated", "evaluation.json")
    model = {"digest": graph.digest, "weights_digest": graph.weights_digest}
    more = {"model": model, "accuracy_by_step": {"fused": [by_step] * params.encoding.steps}}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, takes: Path, params: Params
) -> Iterator[Workspace]:
    """Version 1, champion; version 2, no better when it was registered, and better in a later evaluation.

    Between the two it was trained again at another commit, to the same weights.
    """
    ws = Workspace(tmp_path_factory.mktemp("later") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(ws.root))
        for name in (URI, "BENTOML_HOME"):
            patch.delenv(name, raising=False)
        ws.path("mlflow").mkdir(parents=True)
        shutil.copyfile(empty_store, ws.path("mlflow", "mlflow.db"))
        put_data(ws, takes)
        evaluated(ws, params, seed=1, mistakes=40, by_step=0.5)
        register(params, ws)
        assert promote(params, ws)["promoted"]
        evaluated(ws, params, seed=2, mistakes=40, by_step=0.25)
        first = register(params, ws)
        evaluated(ws, params, seed=2, mistakes=5, by_step=0.75, commit="second")
        later = register(params, ws)
        assert later["version"] == first["version"] == "2" and later["evaluation_run"] != first["run_id"]
        yield ws


def latest(ws: Workspace) -> versions.Version:
    return versions.evaluated(versions.find(connect(ws), "snn-fusion", "2"))


def stored(ws: Workspace, run_id: str, name: str) -> Path:
    (place,) = [path for path in ws.path("mlflow", "artifacts").rglob(name) if run_id in path.parts]
    return place


def test_the_later_evaluation_is_served_and_packaged(home: Workspace, params: Params) -> None:
    assert set(named("2", "float").accuracy["fused"]) == {0.75}
    bento = Path(package(params, home, "2")["bento"])
    (folder,) = [path.parent for path in bento.rglob("package.json")]
    assert set(load_package(folder, "float").accuracy["fused"]) == {0.75}


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.parquet"])
def test_the_first_evaluation_in_the_place_of_the_later_one_is_refused(
    home: Workspace, params: Params, name: str
) -> None:
    found = latest(home)
    first = stored(home, versions.find(connect(home), "snn-fusion", "2").run_id, name)
    place = stored(home, found.run_id, name)
    right = place.read_bytes()
    assert right != first.read_bytes()
    remove_tree(home.path("cache", "runs"))
    shutil.copyfile(first, place)
    try:
        with pytest.raises(Altered, match=rf"version 2: {name}"):
            named("2", "float") if name == "evaluation.json" else promote(params, home, "2")
    finally:
        place.write_bytes(right)
    versions.run_file(found, name, home)


def test_the_later_evaluation_decides_on_promotion_and_its_chips_are_shown(home: Workspace, params: Params) -> None:
    assert latest(home).tags["testing_digest"]
    verdict = promote(params, home, "2")
    assert verdict["promoted"] and verdict["numbers"]["only_challenger"] == 35
    remove_tree(home.path("compared"))
    found = Records(Settings()).benchmarks()
    assert found["source"] == "version 2" and found["targets"]["akida"]["why"] == "by_step 0.75"


def test_until_a_new_evaluation_is_logged_whole_the_one_before_stands(ready: Workspace, params: Params) -> None:
    register(params, ready)
    put_evaluation(ready, {"clean": 40})
    before = versions.evaluated(versions.find(connect(ready), "snn-fusion", "1"))
    place = "snn_fusion.registry.register"
    kill_after("mlflow:MlflowClient", "set_model_version_tag", f"{place}:register", ready, params)
    after = versions.evaluated(versions.find(connect(ready), "snn-fusion", "1"))
    assert after.run_id == before.run_id
    assert {name: after.tags[name] for name in before.tags} == before.tags
    register(params, ready)
    assert versions.find(connect(ready), "snn-fusion", "1").tags["accuracy"] == "90.0 %"
    done = versions.evaluated(versions.find(connect(ready), "snn-fusion", "1"))
    assert done.run_id != before.run_id and done.tags["predictions_digest"] != before.tags["predictions_digest"]
