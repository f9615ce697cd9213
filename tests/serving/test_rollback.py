"""Rolling a champion back in a real registry: who is champion then, what is recorded, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.register import register
from snn_fusion.registry.rollback import rollback
from snn_fusion.registry.tracking import connect
from snn_fusion.workspace import Workspace
from tests.registry.conftest import empty_store, kill_after, params, put_evaluation, put_network, ready, takes, ws

__all__ = ["empty_store", "params", "ready", "takes", "ws"]  # fixtures
Challenge = Callable[[int], str]


@pytest.fixture
def champions(ready: Workspace, params: Params) -> Challenge:
    """Registers that many networks, each better than the one before, and promotes each; the last one's number."""

    def make(count: int) -> str:
        for n in range(count):
            put_network(ready, params, seed=n + 1)
            put_evaluation(ready, {"n3": 40 * (count - n)})
            register(params, ready)
            assert promote(params, ready)["promoted"]
        return champion(ready)

    return make


def champion(ws: Workspace) -> str:
    return str(connect(ws).get_model_version_by_alias("snn-fusion", "champion").version)


def lines(ws: Workspace) -> list[dict[str, object]]:
    return [dict(entry.body) for entry in ledger.read(ws.path(RECORD))]


def test_the_champion_before_is_champion_again_and_the_record_says_who_did_it(
    ready: Workspace, params: Params, champions: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert champions(2) == "2"
    monkeypatch.setenv("SNN_FUSION_USER", "ada")
    result = rollback(params, ready, "2")
    assert (result["rolled_back"], result["version"]) == ("2", "1") and champion(ready) == "1"
    last = lines(ready)[-1]
    assert (last["who"], last["version"], last["champion_before"], last["rolled_back"]) == ("ada", "1", "2", "2")
    described = connect(ready).get_model_version("snn-fusion", "1").description
    assert described.startswith("Champion again on") and "version 2 was rolled back to version 1\n" in described


def test_a_second_rollback_goes_further_back_and_a_third_has_nowhere_to_go(
    ready: Workspace, params: Params, champions: Challenge
) -> None:
    champions(3)
    assert [rollback(params, ready)["version"] for _ in range(2)] == ["2", "1"]
    with pytest.raises(BadInput, match=r"version 1: none was champion before it"):
        rollback(params, ready)
    assert champion(ready) == "1" and len(lines(ready)) == 5


def test_what_was_rolled_back_comes_back_only_when_it_is_named(
    ready: Workspace, params: Params, champions: Challenge
) -> None:
    champions(2)
    rollback(params, ready)
    nightly = promote(params, ready)  # the challenger is still version 2
    assert not nightly["promoted"] and "version 2 was rolled back on" in nightly["reason"]
    assert champion(ready) == "1" and len(lines(ready)) == 3
    assert promote(params, ready, "2")["promoted"] and champion(ready) == "2"
    assert rollback(params, ready)["version"] == "1"


def test_only_the_champion_can_be_rolled_back(ready: Workspace, params: Params, champions: Challenge) -> None:
    champions(2)
    with pytest.raises(BadInput, match=r"version 1: is not the champion, which is version 2"):
        rollback(params, ready, "1")
    with pytest.raises(BadInput, match=r"no version or alias '9'"):
        rollback(params, ready, "9")
    assert champion(ready) == "2"


def test_without_a_champion_or_with_one_set_by_hand_the_remedy_is_named(ready: Workspace, params: Params) -> None:
    put_evaluation(ready, {"n3": 40})
    register(params, ready)
    with pytest.raises(BadInput, match=r"there is no champion .run `snn-fusion promote`"):
        rollback(params, ready)
    connect(ready).set_registered_model_alias("snn-fusion", "champion", "1")
    with pytest.raises(BadInput, match=r"the record does not say how version 1 became champion"):
        rollback(params, ready)


def test_a_rollback_that_was_killed_after_the_record_is_carried_out_by_the_next_command(
    ready: Workspace, params: Params, champions: Challenge
) -> None:
    champions(2)
    kill_after("snn_fusion.registry.record", "append", "snn_fusion.registry.rollback:rollback", ready, params)
    assert champion(ready) == "2" and len(lines(ready)) == 3
    promote(params, ready)
    assert champion(ready) == "1" and len(lines(ready)) == 3


def test_a_record_that_was_altered_stops_it(ready: Workspace, params: Params, champions: Challenge) -> None:
    champions(2)
    path: Path = ready.path(RECORD)
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"who": "eve"}), *others]) + "\n")
    with pytest.raises(BadInput, match=r"line 2: does not follow"):
        rollback(params, ready)
