"""What is registered is what is used: another file in its place, in store or cache, is refused by name."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.registry import seals, versions
from snn_fusion.registry.models import resolve_model
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.rollback import rollback
from snn_fusion.registry.seals import Altered
from snn_fusion.registry.tracking import URI, connect
from snn_fusion.serving.load import named
from snn_fusion.serving.packaged import load_package, seal
from snn_fusion.serving.serve import check_models
from snn_fusion.serving.settings import Settings
from snn_fusion.targets.artefact import save_artefact
from snn_fusion.targets.contract import Artefact
from snn_fusion.workspace import Workspace, file_digest, remove_tree
from tests.registry.conftest import put_data, put_evaluation, put_network


@pytest.fixture(scope="module")
def registered(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, takes: Path, params: Params
) -> Iterator[Workspace]:
    """Version 1, champion, and version 2, a better one."""
    ws = Workspace(tmp_path_factory.mktemp("seals") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(ws.root))
        patch.delenv(URI, raising=False)
        ws.path("mlflow").mkdir(parents=True)
        shutil.copyfile(empty_store, ws.path("mlflow", "mlflow.db"))
        put_data(ws, takes)
        for seed, mistakes in ((1, 40), (2, 10)):
            put_network(ws, params, seed=seed)
            put_evaluation(ws, {"n3": mistakes})
            evaluation = ws.path("evaluated", "evaluation.json")
            evaluation.write_text(json.dumps(json.loads(evaluation.read_text()) | {"accuracy_by_step": {}}))
            register(params, ws)
            if seed == 1:
                assert promote(params, ws)["promoted"]
        yield ws


def version(ws: Workspace, number: str) -> versions.Version:
    return versions.find(connect(ws), "snn-fusion", number)


def stored(ws: Workspace, number: str, name: str) -> Path:
    """A file of a version's run in MLflow's artifact store."""
    found = version(ws, number)
    (place,) = [path for path in ws.path("mlflow", "artifacts").rglob(name) if found.run_id in path.parts]
    return place


def graph_in_store(ws: Workspace, number: str) -> Path:
    digest = version(ws, number).tags["graph_digest"]
    (place,) = [
        path.parent for path in ws.path("mlflow", "artifacts").rglob("digest") if path.read_text().strip() == digest
    ]
    return place


def put_back(place: Path, other: Path) -> Callable[[], None]:
    """`other` in the place of a file or folder; what puts the right one back."""
    kept = place.with_name(f"{place.name}.kept")
    place.rename(kept)
    shutil.copytree(other, place) if other.is_dir() else shutil.copyfile(other, place)

    def back() -> None:
        remove_tree(place)
        kept.rename(place)

    return back


def forget(ws: Workspace) -> None:
    remove_tree(ws.path("cache"))


USES: dict[str, Callable[[Workspace, Params], object]] = {
    "serve": lambda ws, params: named("2", "float"),
    "the check before serving": lambda ws, params: check_models(ws, Settings(model="2")),
    "evaluate and compile": lambda ws, params: resolve_model(params, ws, "2"),
    "promote": lambda ws, params: promote(params, ws, "2"),
}


@pytest.mark.parametrize("use", USES)
def test_another_graph_in_the_place_of_a_versions_is_refused_by_name(
    registered: Workspace, params: Params, use: str
) -> None:
    forget(registered)
    record = registered.path("promotions.jsonl").read_bytes()
    back = put_back(graph_in_store(registered, "2"), graph_in_store(registered, "1"))
    try:
        with pytest.raises(
            Altered, match=r"is not what was registered as version 2: graph: its digest is .*registered"
        ):
            USES[use](registered, params)
        assert not list(registered.path("cache").rglob("graph.json"))  # nothing of it is kept
    finally:
        back()
    assert registered.path("promotions.jsonl").read_bytes() == record
    assert named("2", "float").version == "2"
    cached = registered.path("cache", "models", version(registered, "2").tags["graph_digest"])
    back = put_back(cached, graph_in_store(registered, "1"))
    try:
        with pytest.raises(Altered, match=r"version 2: graph"):
            USES[use](registered, params)
    finally:
        back()


def test_another_evaluation_is_refused_and_not_shown_as_this_versions_accuracy(registered: Workspace) -> None:
    forget(registered)
    back = put_back(stored(registered, "2", "evaluation.json"), stored(registered, "1", "evaluation.json"))
    try:
        with pytest.raises(Altered, match=r"version 2: evaluation.json"):
            named("2", "float")
    finally:
        back()
    named("2", "float")
    cached = registered.path("cache", "runs", version(registered, "2").run_id, "evaluation.json")
    cached.write_text('{"accuracy_by_step": {}}')
    with pytest.raises(Altered, match=r"evaluation.json: is not what was registered"):
        named("2", "float")


@pytest.mark.parametrize("name", ["predictions.parquet", "targets.json", "validation/profile.json"])
def test_every_file_that_is_used_later_has_a_digest(registered: Workspace, name: str) -> None:
    forget(registered)
    found = version(registered, "2")
    path = versions.run_file(found, name, registered)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(Altered, match=rf"version 2: {name}"):
        versions.run_file(found, name, registered)


def test_a_version_whose_files_were_changed_is_not_rolled_back_to(registered: Workspace, params: Params) -> None:
    forget(registered)
    assert promote(params, registered, "2")["promoted"]
    record = registered.path("promotions.jsonl").read_bytes()
    back = put_back(graph_in_store(registered, "1"), graph_in_store(registered, "2"))
    try:
        forget(registered)
        with pytest.raises(Altered, match=r"version 1: graph"):
            rollback(params, registered)
        assert registered.path("promotions.jsonl").read_bytes() == record
    finally:
        back()
    assert rollback(params, registered)["version"] == "1"


def test_the_rates_of_a_version_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text("{}")
    tags = {"rates_digest": file_digest(path)}
    seals.check_file(path, "rates.json", "version 3", tags)
    path.write_text("{ }")
    with pytest.raises(Altered, match=r"version 3: rates.json"):
        seals.check_file(path, "rates.json", "version 3", tags)


def test_an_older_version_is_checked_by_the_network_that_its_evaluation_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"model": {"digest": "1" * 64}}))
    seals._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        seals.check_file(path, "evaluation.json", "version 7", {"graph_digest": "1" * 64})
    assert "version 7: evaluation.json was registered without a digest" in caplog.text
    with pytest.raises(Altered, match=r"digest is 111111111111, the registered one 222222222222"):
        seals.check_file(path, "evaluation.json", "version 7", {"graph_digest": "2" * 64})
    with pytest.raises(Altered, match=r"has no tag graph_digest"):
        seals.check_graph(tmp_path, "version 7", {})


def test_another_artefact_of_a_chip_is_refused(tmp_path: Path) -> None:
    digests = [save_artefact(tmp_path / str(i), Artefact("loihi2", {"number": i}, {})) for i in (1, 2)]
    seals.check_artefact(tmp_path / "1", "version 3", "loihi2", "0" * 64, digests[0])
    with pytest.raises(Altered, match=r"version 3: artefact for loihi2: its digest is"):
        seals.check_artefact(tmp_path / "2", "version 3", "loihi2", "0" * 64, digests[0])
    (tmp_path / "1" / "compiled.json").write_text(json.dumps({"graph": "1" * 64}))
    with pytest.raises(Altered, match=r"its network"):
        seals.check_artefact(tmp_path / "1", "version 3", "loihi2", "0" * 64, digests[0])


def test_a_package_holds_nothing_that_it_does_not_name(registered: Workspace, tmp_path: Path) -> None:
    for number in ("1", "2"):
        shutil.copytree(graph_in_store(registered, number), tmp_path / number / "graph")
        digest = load_graph(tmp_path / number / "graph").digest
        seal(tmp_path / number, {"version": number, "graph": digest})
    assert load_package(tmp_path / "2", "float").version == "2"
    (tmp_path / "2" / "rates.json").write_text("{}")
    with pytest.raises(BadInput, match=r"rates.json: was not packaged"):
        load_package(tmp_path / "2", "float")
    (tmp_path / "2" / "rates.json").unlink()
    remove_tree(tmp_path / "2" / "graph")
    shutil.copytree(tmp_path / "1" / "graph", tmp_path / "2" / "graph")
    with pytest.raises(BadInput, match=r"is not as it was packaged: its digest is .*package.json says"):
        load_package(tmp_path / "2", "float")
