"""The search: the same for the same seed, pruned, killed, run twice, failing; its best goes into `train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.config import Params, check_params, load_params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import tracking
from snn_fusion.search import trial as trial_module
from snn_fusion.search.best import best
from snn_fusion.search.plan import plan
from snn_fusion.search.study import open_study
from snn_fusion.search.trial import run_trial
from snn_fusion.training.stage import train
from snn_fusion.workspace import Workspace
from tests.search.conftest import SPACE, kill_trial, raw_search, result_of, start_trial


def runs_in_mlflow(params: Params, ws: Workspace) -> list[Any]:
    client = tracking.connect(ws)
    return list(client.search_runs([tracking.experiment_id(client, params, ws)]))


def with_losses(monkeypatch: pytest.MonkeyPatch, losses: Callable[[Params, int], float]) -> None:
    """Training that takes no time: `losses(params, epoch)` is the validation loss."""
    from snn_fusion.training.checkpoint import Progress

    def fit(network: Any, data: Any, params: Params, checkpoint: Path, report: Any) -> Progress:
        history = []
        for epoch in range(params.training.epochs):
            numbers = {"loss": 1.0, "accuracy": 0.5, "val_loss": losses(params, epoch)}
            history.append({"epoch": epoch + 1, **numbers})
            report(epoch + 1, 1.0, numbers)
        return Progress(history, 1, min(row["val_loss"] for row in history), {})

    monkeypatch.setattr(trial_module, "fit", fit)


def test_best_parameters_train_to_the_loss_that_the_trial_had(ws: Workspace, small: Params) -> None:
    planned = plan(small, ws)
    assert planned["slots"] == [0, 1, 2] and planned["states"] == {"waiting": 3}
    trials = [run_trial(small, ws, slot) for slot in planned["slots"]]
    now = trials[0]["parameters"]
    assert now == {"network.joint": 12, "training.learning_rate": 0.01}  # the first one is what params.yaml has
    found = best(small, ws)
    assert found["best"]["val_loss"] == min(t["val_loss"] for t in trials if t["state"] == "complete")
    chosen = load_params(ws.path("search", "best.yaml"))
    assert not ws.path("trained").exists()
    trained = train(chosen, ws)
    assert trained["val_loss"] == round(found["best"]["val_loss"], 4)


def test_trials_one_after_the_other_are_the_same_for_the_same_seed(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_losses(monkeypatch, lambda params, epoch: params.training.learning_rate)
    tries = []
    for name in ("one", "two"):
        monkeypatch.setenv("SNN_FUSION_SEARCH_STORAGE", f"sqlite:///{tmp_path / name}.db")
        params = check_params(raw_search(trials=14))
        slots = plan(params, ws)["slots"]
        tries.append([run_trial(params, ws, slot) for slot in slots])
    assert tries[0] == tries[1]
    assert len({one["parameters"]["training.learning_rate"] for one in tries[0]}) == 14


def test_a_hopeless_trial_is_pruned_and_a_better_one_is_not(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_search({"network.joint": {"choices": [12, 8, 10]}}, warmup_epochs=2)
    raw["training"]["epochs"] = 4
    params = check_params(raw)
    bad: set[int] = set()
    seen: list[int] = []

    def losses(tried: Params, epoch: int) -> float:
        return 5.0 if seen[-1] in bad else 1.0 / (1 + epoch)

    with_losses(monkeypatch, losses)
    plan(params, ws)
    results = []
    for slot in range(3):
        seen.append(slot)
        bad |= {slot} if slot == 1 else set()
        results.append(run_trial(params, ws, slot))
    assert [r["state"] for r in results] == ["complete", "pruned", "complete"]
    assert [r["epochs"] for r in results] == [4, 2, 4]  # two epochs of warm-up
    by_trial = {r.data.tags["trial"]: r for r in runs_in_mlflow(params, ws) if "trial" in r.data.tags}
    assert by_trial["1"].data.tags["state"] == "pruned"


def test_a_slot_run_twice_is_one_trial_and_one_run(ws: Workspace, small: Params) -> None:
    plan(small, ws)
    first = run_trial(small, ws, 1)
    assert run_trial(small, ws, 1) == first
    assert plan(small, ws)["states"] == {first["state"]: 1, "waiting": 2}
    with open_study(small, ws) as study:
        assert len(study.trials()) == 3
    parents = [r for r in runs_in_mlflow(small, ws) if "trial" not in r.data.tags]
    children = [r for r in runs_in_mlflow(small, ws) if "trial" in r.data.tags]
    assert len(parents) == len(children) == 1
    assert children[0].data.tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert children[0].info.status == "FINISHED" and children[0].data.tags["state"] == first["state"]
    assert children[0].data.params["network.joint"] == str(first["parameters"]["network.joint"])
    client = tracking.connect(ws)
    epochs = [m.step for m in client.get_metric_history(children[0].info.run_id, "val_loss")]
    assert epochs == list(range(1, first["epochs"] + 1))  # counted as everywhere


@pytest.mark.parametrize("moment", ["log", "end"])
def test_a_killed_trial_goes_on_with_its_parameters(ws: Workspace, small: Params, moment: str) -> None:
    plan(small, ws)
    kill_trial(small, ws, 2, moment)
    with open_study(small, ws) as study:
        killed = study.trials()[2]
    assert killed.state.name == "RUNNING" and killed.params
    assert plan(small, ws)["states"] == {"unfinished": 1, "waiting": 2}
    result = run_trial(small, ws, 2)
    assert result["state"] == "complete" and result["epochs"] == 2
    assert result["parameters"]["training.learning_rate"] == killed.params["training.learning_rate"]
    children = [r for r in runs_in_mlflow(small, ws) if "trial" in r.data.tags]
    assert len(children) == 1 and children[0].data.tags["state"] == "complete"
    assert not list(ws.path("search").rglob("*.safetensors"))


def test_two_trials_at_once_share_one_file(ws: Workspace, small: Params) -> None:
    plan(small, ws)
    processes = [start_trial(small, ws, slot) for slot in (0, 1, 1)]  # the last waits for the one before
    results = [result_of(process) for process in processes]
    assert [r["trial"] for r in results] == [0, 1, 1] and results[1] == results[2]
    assert plan(small, ws)["states"]["waiting"] == 1
    assert len([r for r in runs_in_mlflow(small, ws) if "trial" in r.data.tags]) == 2


def test_a_training_that_stops_is_a_failed_trial_with_its_reason(ws: Workspace) -> None:
    space = {"training.learning_rate": {"low": 1e29, "high": 1e30}}
    params = check_params(raw_search(space, trials=2, max_failed_share=0.4))
    plan(params, ws)
    result = run_trial(params, ws, 1)
    assert result["state"] == "failed" and "epoch " in result["reason"]
    child = next(r for r in runs_in_mlflow(params, ws) if "trial" in r.data.tags)
    assert child.info.status == "FAILED" and child.data.tags["reason"] == result["reason"]
    with pytest.raises(SnnFusionError, match=r"of 2 trials 1 failed, 1 waiting: none is complete\n  trial 1: epoch"):
        best(params, ws)


def test_too_many_unfinished_trials_are_no_result(
    ws: Workspace, small: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_losses(monkeypatch, lambda params, epoch: 1.0)
    plan(small, ws, trials=4)
    for slot in range(2):
        run_trial(small, ws, slot)
    with pytest.raises(SnnFusionError, match=r"2 complete, 2 waiting: search.max_failed_share 0.25 allows 1"):
        best(small, ws)
    assert not ws.path("search", "best.yaml").exists()
    run_trial(small, ws, 2)
    assert best(small, ws)["states"] == {"complete": 3, "waiting": 1}


def test_other_data_or_parameters_are_another_study(ws: Workspace, small: Params) -> None:
    names = {plan(small, ws)["study"]}
    raw = raw_search()
    for change in (
        {"seed": 1},
        {"training": raw["training"] | {"batch": 8}},
        {"search": raw["search"] | {"trials": 9}},
    ):
        names.add(plan(check_params(raw | change), ws)["study"])
    assert len(names) == 3  # how many trials there are makes no difference
    stamp = ws.path("encoded", "stage.json")
    stamp.write_text(stamp.read_text().replace("digest of encoded", "another"))
    with pytest.raises(BadInput, match=r"there is no study .* as they are now .*search plan"):
        run_trial(small, ws, 0)


def test_a_slot_that_is_not_there_is_named(ws: Workspace, small: Params) -> None:
    plan(small, ws)
    with pytest.raises(BadInput, match=r"--slot: the study has no slot 3 \(there are 0 to 2"):
        run_trial(small, ws, 3)


def test_lists_whole_numbers_and_mappings_can_be_searched(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with_losses(monkeypatch, lambda params, epoch: 1.0)
    space = {
        "network.recurrent": {"choices": [[], ["joint"]]},
        "network.branch.audio": {"low": 4, "high": 12},
        "training.sense_dropout": {"low": 0, "high": 1},
    }
    params = check_params(raw_search(space, trials=5))
    for slot in plan(params, ws)["slots"]:
        given = run_trial(params, ws, slot)["parameters"]
        assert given["network.recurrent"] in ([], ["joint"]) and 4 <= given["network.branch.audio"] <= 12
    best(params, ws)
    found = yaml.safe_load(ws.path("search", "best.yaml").read_text())
    assert isinstance(found["network"]["branch"]["audio"], int)
    assert found["search"]["space"].keys() == space.keys() != SPACE.keys()
