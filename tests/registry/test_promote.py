"""Promotion in a real registry: who becomes champion, what is recorded, and what a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import connect
from snn_fusion.workspace import Workspace
from tests.registry.conftest import Mistakes, kill_after, put_data, put_evaluation, put_network

Challenge = Callable[..., str]


@pytest.fixture
def challenge(ready: Workspace, params: Params) -> Challenge:
    """Registers a new network that makes these mistakes; its version."""
    seeds = iter(range(1, 100))

    def register_one(mistakes: Mistakes | None = None, start: int = 0) -> str:
        put_network(ready, params, seed=next(seeds))
        put_evaluation(ready, mistakes, start)
        return str(register(params, ready)["version"])

    return register_one


def aliases(client: MlflowClient) -> dict[str, str]:
    """SQLite gives the versions as whole numbers, a server as text."""
    return {alias: str(version) for alias, version in client.get_registered_model("snn-fusion").aliases.items()}


def champion(ws: Workspace) -> str:
    return str(connect(ws).get_model_version_by_alias("snn-fusion", "champion").version)


def lines(ws: Workspace) -> list[dict[str, object]]:
    return [json.loads(line) for line in ws.path("promotions.jsonl").read_text().splitlines()]


def test_without_a_challenger_the_remedy_is_named(ready: Workspace, params: Params) -> None:
    with pytest.raises(BadInput, match=r"there is no challenger .run `snn-fusion register`"):
        promote(params, ready)


def test_the_first_becomes_champion_and_is_recorded(
    ready: Workspace, params: Params, challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_USER", "ada")
    challenge({"n3": 40})
    result = promote(params, ready)
    assert result["promoted"] and result["champion_before"] is None and "first champion" in result["reason"]
    assert champion(ready) == "1"
    (line,) = lines(ready)
    assert line["who"] == "ada" and line["version"] == "1" and line["promoted"] is True
    assert str(line["time"]).endswith("+00:00")
    assert json.loads(ready.path("reference", "profile.json").read_text())["schema"] == 1


def test_a_better_challenger_takes_the_place_and_a_worse_one_does_not(
    ready: Workspace, params: Params, challenge: Challenge
) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    challenge({"n3": 10})
    better = promote(params, ready)
    assert better["promoted"] and better["champion_before"] == "1" and champion(ready) == "2"
    challenge({"n3": 60})
    worse = promote(params, ready)
    assert not worse["promoted"] and worse["champion_before"] == "2" and champion(ready) == "2"
    assert [line["promoted"] for line in lines(ready)] == [True, True, False]
    assert lines(ready)[2]["numbers"] == worse["numbers"]


def test_a_loss_in_one_condition_keeps_the_champion(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    challenge({"missing_audio": 5})
    result = promote(params, ready)
    assert not result["promoted"] and "worse in missing_audio: 98.8 %" in result["reason"]
    assert champion(ready) == "1"


def test_asking_again_neither_records_nor_decides_again(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    assert promote(params, ready)["reason"] == "version 1 is the champion"
    challenge({"n3": 40})
    first = promote(params, ready)
    assert promote(params, ready) == first | {"up_to_date": True}
    assert len(lines(ready)) == 2


def test_the_reason_of_a_decision_is_the_versions_description(
    ready: Workspace, params: Params, challenge: Challenge
) -> None:
    reasons = []
    for mistakes in ({"n3": 40}, {"missing_audio": 5}):
        challenge(mistakes)
        reasons.append(promote(params, ready)["reason"])
    texts = [connect(ready).get_model_version("snn-fusion", number).description for number in ("1", "2")]
    firsts, tables = zip(*(text.split("\n\n", 1) for text in texts), strict=True)
    assert firsts[0].startswith("Promoted on ") and firsts[0].endswith(reasons[0])
    assert firsts[1].startswith("Not promoted on ") and firsts[1].endswith(reasons[1])
    assert all("| clean | 100.0 % |" in table for table in tables)


def test_a_champion_is_no_challenger_and_a_dethroned_one_is_not_said_to_be_promoted(
    ready: Workspace, params: Params, challenge: Challenge
) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    client = connect(ready)
    assert aliases(client) == {"champion": "1"}
    challenge({"n3": 10})
    promote(params, ready)
    assert aliases(client) == {"champion": "2"}
    texts = [client.get_model_version("snn-fusion", number).description for number in ("1", "2")]
    assert texts[0].startswith("Champion until ") and "version 2 took its place" in texts[0]
    assert texts[1].startswith("Promoted on ")


def test_a_first_champion_must_pass_the_floor(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"clean": 200})
    refused = promote(params, ready)
    assert not refused["promoted"] and refused["champion_before"] is None
    assert "below the floor for a first champion: 50.0 % of 400 clean recordings" in refused["reason"]
    assert "55.0 % is wanted (chance is 10.0 %)" in refused["reason"]
    assert refused["numbers"]["chance"] == pytest.approx(0.1)
    assert promote(params, ready)["up_to_date"] and [line["promoted"] for line in lines(ready)] == [False]
    floor = params.registry.floor.model_copy(update={"above_chance": 0.3})
    lower = params.model_copy(update={"registry": params.registry.model_copy(update={"floor": floor})})
    assert promote(lower, ready)["promoted"] and champion(ready) == "1"


def test_a_version_can_be_named(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"n3": 40})
    challenge({"n3": 80})
    assert promote(params, ready, version="1")["version"] == "1"
    assert champion(ready) == "1"
    with pytest.raises(BadInput, match=r"no version or alias '7' .registered: 1, 2"):
        promote(params, ready, version="7")


def test_a_network_of_synthetic_recordings_never_replaces_one_of_real_ones(
    ready: Workspace, params: Params, challenge: Challenge, takes: Path
) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    put_data(ready, takes, source="synthetic")
    challenge()
    result = promote(params, ready)
    assert not result["promoted"] and "trained on synthetic recordings" in result["reason"]
    assert champion(ready) == "1"


def test_networks_measured_on_other_recordings_are_measured_again_on_todays(
    ready: Workspace, params: Params, challenge: Challenge, takes: Path
) -> None:
    put_data(ready, takes, labels="012345678")
    challenge({"n3": 40})
    promote(params, ready)
    challenge()
    put_data(ready, takes, labels="0123456789")
    result = promote(params, ready)
    assert result["numbers"]["accuracy"]["clean"]["n"] == 10
    assert len(list(ready.path("cache", "predictions").glob("*.parquet"))) == 2


def test_a_champion_that_does_not_know_a_label_is_kept_with_the_reason(
    ready: Workspace, params: Params, challenge: Challenge, takes: Path
) -> None:
    put_data(ready, takes, labels="01234567")
    put_network(ready, params, classes="01234567")
    put_evaluation(ready)
    register(params, ready)
    promote(params, ready)
    put_data(ready, takes)
    challenge()
    result = promote(params, ready)
    assert not result["promoted"]
    assert "version 1, cannot be tested on today's recordings: it does not know 8, 9" in result["reason"]


def test_an_altered_record_stops_promotion(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    challenge({"n3": 40})
    promote(params, ready)
    record = ready.path("promotions.jsonl")
    whole = record.read_text()
    record.write_text(whole.replace("first champion", "best champion"))
    with pytest.raises(BadInput, match=r"promotions.jsonl: line 2: does not follow from the line before"):
        promote(params, ready)
    record.write_text(whole.splitlines()[0].replace("first champion", "best champion") + "\n")
    with pytest.raises(BadInput, match=r"promotions.jsonl: line 1: is not as the registry's record has it"):
        promote(params, ready)


@pytest.mark.parametrize(
    ("owner", "moment"),
    [
        ("snn_fusion.registry.record", "append"),
        ("mlflow.MlflowClient", "set_registered_model_alias"),
        ("snn_fusion.validation.stage", "accept_profile"),
    ],
)
def test_a_kill_while_promoting_is_made_good_by_the_next_promotion(
    ready: Workspace, params: Params, challenge: Challenge, owner: str, moment: str
) -> None:
    challenge({"n3": 40})
    kill_after(owner, moment, "snn_fusion.registry.promote.promote", ready, params)
    assert len(ledger.read(ready.path("promotions.jsonl"))) == 1
    assert promote(params, ready)["reason"] == "version 1 is the champion"
    assert champion(ready) == "1" and len(lines(ready)) == 1
    assert ready.path("reference", "profile.json").exists()


def test_a_champion_set_by_hand_is_left_alone(ready: Workspace, params: Params, challenge: Challenge) -> None:
    challenge({"n3": 40})
    promote(params, ready)
    challenge({"n3": 10})
    promote(params, ready)
    connect(ready).set_registered_model_alias("snn-fusion", "champion", "1")  # someone rolls back
    challenge({"n3": 40})
    result = promote(params, ready)
    assert not result["promoted"] and result["champion_before"] == "1" and champion(ready) == "1"
