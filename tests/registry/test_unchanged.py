"""`promote` and `package` with nothing to do ask MLflow nothing; whatever changed is decided or refused as ever."""

from __future__ import annotations

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import promote as promotion
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import connect
from snn_fusion.workspace import Workspace
from tests.registry.conftest import put_evaluation, put_network
from tests.registry.test_seals import graph_in_store

MODEL = "snn-fusion"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """The workspaces whose registry `promote` has opened."""
    opened: list[Workspace] = []

    def connect_and_note(ws: Workspace) -> object:
        opened.append(ws)
        return connect(ws)

    monkeypatch.setattr(promotion, "connect", connect_and_note)
    return opened


@pytest.fixture
def champion(ready: Workspace, params: Params) -> Workspace:
    put_network(ready, params, seed=1)
    put_evaluation(ready)
    register(params, ready)
    promote(params, ready)
    return ready


def test_a_second_promotion_asks_nothing_and_says_that_the_champion_stands(
    champion: Workspace, params: Params, asked: list[Workspace]
) -> None:
    result = promote(params, champion)
    assert not asked
    assert (result["promoted"], result["up_to_date"], result["version"]) == (False, True, "1")
    assert promote(params, champion, "1")["up_to_date"] and len(asked) == 1  # a version that is named is looked up


def test_a_new_version_other_parameters_and_another_alias_are_looked_at(
    champion: Workspace, params: Params, asked: list[Workspace]
) -> None:
    put_network(champion, params, seed=2)
    put_evaluation(champion)
    register(params, champion)
    assert promote(params, champion)["version"] == "2" and asked
    asked.clear()
    assert promote(params, champion)["version"] == "2" and not asked
    stricter = params.registry.model_copy(update={"significance": 0.001})
    promote(params.model_copy(update={"registry": stricter}), champion)
    assert asked
    client = connect(champion)
    client.set_registered_model_alias(MODEL, "challenger", "1")
    asked.clear()
    promote(params, champion)
    assert asked


def test_a_challenger_whose_graph_was_altered_is_refused_all_the_same(champion: Workspace, params: Params) -> None:
    put_network(champion, params, seed=2)
    put_evaluation(champion, {"clean": 40, "n3": 40})
    register(params, champion)
    assert not promote(params, champion)["promoted"]
    for graph in (graph_in_store(champion, "2"), champion.path("cache", "models")):
        for weights in graph.rglob("weights.safetensors"):
            weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadInput, match="the files give"):
        promote(params, champion)


def test_an_altered_record_is_refused_all_the_same(champion: Workspace, params: Params) -> None:
    record = champion.path("promotions.jsonl")
    record.write_text(record.read_text().replace('"promoted": true', '"promoted": false'))
    with pytest.raises(BadInput, match="promotions"):
        promote(params, champion)
