"""Rolling, blue-green, canary and rollback on simulated replicas: who answers at every moment, and in the end.

The simulated nginx refuses to send a request to nobody, to a replica that is not ready, or to one that is being
replaced. tests/docker/test_updates.py does the same on a real engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snn_fusion.deploy import site
from snn_fusion.deploy.rollout import record
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.deploy.rollout.ways import Target, Update, rollback
from snn_fusion.errors import SnnFusionError
from tests.deploy.simulated_fleet import NEW, OLD, Behaves, Fleet, update

Way = Callable[[Update, Target], object]
TARGET = Target(NEW, "new")
WAYS: dict[str, Way] = {
    "rolling": lambda begun, target: begun.rolling(target),
    "blue-green": lambda begun, target: begun.blue_green(target),
    "canary": lambda begun, target: begun.canary(target, 0.2, 60, 100),
}
BAD = {
    "does not start": (Behaves(starts=False), r"app-\d does not stay up"),
    "wrong answers": (Behaves(answers_right=False), "smoke: 2 recordings answered by the same network, 2 not as"),
    "errors": (Behaves(errors=0.2), r"errors: \d+ errors in \d+ answers"),
    "slow": (Behaves(slow=0.5), r"latency: 50\.0% of its answers took longer than 100 ms"),
    "ends": (Behaves(ends_after=25), r"health: app-\d ended|app-\d does not run"),
    "drift": (Behaves(psi=0.6), r"drift: joint of audio: index 0\.60, allowed 0\.25"),
}


def replicas(new: Behaves | None = None) -> Fleet:
    return Fleet({OLD: Behaves(), NEW: new or Behaves()})


def answering(fleet: Fleet) -> set[str]:
    """The images of all that get requests now."""
    now = fleet.routes[-1]
    return {fleet.containers[name].image for name in (*now.serving, *now.canary)}


def take_back(fleet: Fleet, state: Path) -> None:
    live = Live.load(state)
    rollback(fleet, state, live, update(fleet, state, live).baseline.release, "new", "asked for")


@pytest.mark.parametrize("way", WAYS)
def test_a_good_image_takes_over_and_the_record_says_so(way: str, tmp_path: Path) -> None:
    fleet = replicas()
    WAYS[way](update(fleet, tmp_path), TARGET)
    assert answering(fleet) == {NEW}
    live = Live.load(tmp_path)
    assert live.unfinished == "" and not live.out and not live.canary
    assert {live.images[name] for name in live.active} == {NEW}
    (entry,) = record.read(tmp_path)
    assert (entry["way"], entry["from"], entry["to"], entry["verdict"]) == (way, "old", "new", "done")
    assert {finding["test"] for finding in entry["findings"]} >= {"errors", "latency", "drift"}


@pytest.mark.parametrize("reason", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_a_bad_image_is_turned_back_and_the_record_says_why(way: str, reason: str, tmp_path: Path) -> None:
    new, message = BAD[reason]
    fleet = replicas(new)
    begun = update(fleet, tmp_path)
    with pytest.raises(SnnFusionError, match=f"^turned back, old answers: ({message})"):
        WAYS[way](begun, TARGET)
    assert answering(fleet) == {OLD} and fleet.routes[-1].serving == ("app-1", "app-2")
    assert set(fleet.containers) == {"app-1", "app-2"}
    live = Live.load(tmp_path)
    assert live.active == ("app-1", "app-2") and not live.unfinished and set(live.images.values()) == {OLD}
    (entry,) = record.read(tmp_path)
    assert entry["verdict"] == "turned back" and entry["why"]


@pytest.mark.parametrize("reason", ["does not start", "wrong answers"])
def test_an_image_that_fails_its_start_or_its_smoke_test_never_gets_a_request(reason: str, tmp_path: Path) -> None:
    for way in WAYS:
        fleet = replicas(BAD[reason][0])
        with pytest.raises(SnnFusionError):
            WAYS[way](update(fleet, tmp_path), TARGET)
        assert all(live.active == ("app-1", "app-2") and not live.canary for live in fleet.routes)


@pytest.mark.parametrize("reason", ["errors", "drift"])
def test_a_rolling_update_stops_at_the_first_bad_replica(reason: str, tmp_path: Path) -> None:
    fleet = replicas(BAD[reason][0])
    with pytest.raises(SnnFusionError):
        WAYS["rolling"](update(fleet, tmp_path), TARGET)
    assert all("app-2" in live.serving for live in fleet.routes), "the second one stays as it was"


def test_a_rolling_update_replaces_one_replica_at_a_time(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["rolling"](update(fleet, tmp_path), TARGET)
    sets = [live.serving for live in fleet.routes]
    assert sets == [("app-1", "app-2"), ("app-2",), ("app-1", "app-2"), ("app-1",), ("app-1", "app-2")]


def test_the_old_set_is_kept_by_blue_green_and_rollback_only_switches(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["blue-green"](update(fleet, tmp_path), TARGET)
    live = Live.load(tmp_path)
    assert (live.active, live.kept) == (("app-3", "app-4"), ("app-1", "app-2"))
    kept = [fleet.containers[name] for name in live.kept]
    take_back(fleet, tmp_path)
    assert [fleet.containers[name] for name in ("app-1", "app-2")] == kept, "nothing was started"
    assert answering(fleet) == {OLD} and set(fleet.containers) == {"app-1", "app-2"}


def test_a_second_update_goes_into_the_other_set(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["blue-green"](update(fleet, tmp_path), TARGET)
    WAYS["blue-green"](update(fleet, tmp_path, Live.load(tmp_path)), TARGET)
    assert Live.load(tmp_path).active == ("app-1", "app-2") and answering(fleet) == {NEW}


def test_rollback_of_a_rolling_update_starts_the_old_image_again_and_can_be_taken_back(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["rolling"](update(fleet, tmp_path), TARGET)
    take_back(fleet, tmp_path)
    assert answering(fleet) == {OLD}
    take_back(fleet, tmp_path)
    assert answering(fleet) == {NEW}
    assert [entry["way"] for entry in record.read(tmp_path)] == ["rolling", "rollback", "rollback"]


def test_a_canary_with_too_little_traffic_is_not_taken(tmp_path: Path) -> None:
    fleet = replicas()
    fleet.rate = 1.0
    with pytest.raises(SnnFusionError, match=r"traffic: 12 answers, needs at least 100"):
        WAYS["canary"](update(fleet, tmp_path), TARGET)
    assert answering(fleet) == {OLD}


def test_a_canary_gets_its_share_and_no_more(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["canary"](update(fleet, tmp_path), TARGET)
    assert {live.share for live in fleet.routes} == {0.0, 0.2}
    assert [live.canary for live in fleet.routes if live.share] == [("app-3", "app-4")]


def test_a_model_is_tried_on_the_same_image_and_taken_through_the_gate(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["canary"](update(fleet, tmp_path), Target(OLD, "old", model="7"))
    assert answering(fleet) == {OLD} and set(fleet.containers) == {"app-1", "app-2"}
    assert not Live.load(tmp_path).models
    assert record.read(tmp_path)[0]["to"] == "old, version 7"


def test_a_model_that_the_gate_refuses_is_turned_back(tmp_path: Path) -> None:
    fleet = replicas()
    fleet.refused = "not better on the hard conditions"
    with pytest.raises(SnnFusionError, match="the gate refused version 7: not better on the hard conditions"):
        WAYS["canary"](update(fleet, tmp_path), Target(OLD, "old", model="7"))
    assert set(fleet.containers) == {"app-1", "app-2"} and not Live.load(tmp_path).models


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(way=st.sampled_from(sorted(WAYS)), at=st.integers(1, 16))
def test_wherever_the_engine_fails_an_update_the_old_image_answers_in_the_end(
    way: str, at: int, tmp_path: Path
) -> None:
    fleet = replicas()
    begun = update(fleet, tmp_path)
    fleet.fails_at = at
    try:
        WAYS[way](begun, TARGET)
    except SnnFusionError as error:
        assert "the engine does not answer" in str(error)
        assert answering(fleet) == {OLD} and len(fleet.routes[-1].serving) == 2
    else:
        assert fleet.calls < at and answering(fleet) == {NEW}
    assert not Live.load(tmp_path).unfinished


def test_an_interrupted_update_is_named_until_rollback_has_put_all_back(tmp_path: Path) -> None:
    """As a kill leaves it: in the middle, with nothing that turns it back."""
    fleet = replicas()
    begun = update(fleet, tmp_path)

    class Killed(BaseException): ...

    def killed(live: Live) -> None:
        raise Killed

    fleet.route = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        WAYS["rolling"](begun, TARGET)
    live = Live.load(tmp_path)
    assert live.unfinished == "rolling" and live.before is not None
    assert record.read(tmp_path)[0]["verdict"] == "failed"
    del fleet.route
    take_back(fleet, tmp_path)
    assert answering(fleet) == {OLD} and not Live.load(tmp_path).unfinished


def test_what_an_update_put_in_place_is_what_the_next_up_starts(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["blue-green"](update(fleet, tmp_path), TARGET)
    variables = Live.load(tmp_path).environment()
    assert variables["SNN_FUSION_IMAGE_APP_3"] == variables["SNN_FUSION_IMAGE_APP_4"] == NEW
    assert {name: variables[f"SNN_FUSION_SCALE_APP_{name}"] for name in "1234"} == dict.fromkeys("1234", "1")
    assert variables["SNN_FUSION_MODEL_APP_3"] == "", "compose.yaml's default: the champion"
    assert json.loads((tmp_path / "replicas.json").read_text())["active"] == ["app-3", "app-4"]


def test_the_replica_that_does_not_answer_is_restored_first_while_the_other_answers(tmp_path: Path) -> None:
    fleet = replicas()
    WAYS["rolling"](update(fleet, tmp_path), TARGET)
    fleet.images["service:ended"] = Behaves(starts=False)
    fleet.containers["app-2"].image = "service:ended"
    since = len(fleet.routes)
    live = Live.load(tmp_path)
    assert live.before is not None
    rollback(fleet, tmp_path, live, live.before, "new", "asked for")
    assert [live.serving for live in fleet.routes[since:]] == [("app-1",), ("app-2",), ("app-1", "app-2")]


def test_nginx_never_runs_out_of_replicas_to_ask() -> None:
    """After a failure a replica is left alone; when all are, those that serve are asked nevertheless."""
    pools = site.upstream("172.31.240", Live(out=("app-2",), canary=("app-3",), share=0.1)).split("upstream ")[1:]
    assert ["11:8080 max_fails=0 backup" in pool for pool in pools] == [True, True]
    assert not any("12:8080" in pool for pool in pools)
    assert ["13:8080 max_fails=1" in pool for pool in pools] == [False, True]
