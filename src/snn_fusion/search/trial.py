"""One slot of the study: a trial is taken up, trained, pruned or told. Killed at any moment, it goes on from there."""

from __future__ import annotations

import math
import socket
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, TrainingStopped
from snn_fusion.search.record import Record, trial_record
from snn_fusion.search.storage import SearchStopped, is_shared
from snn_fusion.search.study import PLAN_FIRST, Study, found, open_study, study_name, suggest, with_values
from snn_fusion.training.checkpoint import Progress
from snn_fusion.training.loop import Report, fit
from snn_fusion.training.progress import training_progress
from snn_fusion.training.stage import new_network, read_training_data
from snn_fusion.workspace import Workspace, remove_tree

OWNER = "owner"  # of a running trial: which workspace is at it, and when it last said so
BEAT_S, SILENCE_S = 20.0, 600.0
STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "unfinished",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def run_trial(params: Params, ws: Workspace, slot: int) -> dict[str, Any]:
    """Train the slot's trial as the stage `train` would, but for early pruning; what came of it.

    A slot that is done returns what is known of it; one that was killed goes on from its last epoch with the same
    parameters; one that is at work in this workspace is waited for. Only the training split is read.

    Raises SearchStopped if another workspace is at it, BadInput if the study has not been planned.
    """
    with open_study(params, ws) as study:
        folder = ws.path("search", study.name)
        number = study.trial_id(slot)
        with ws.lock(f"search trial --slot {slot}", str(Path("search", study.name, f"{slot}.lock"))):
            trial = study.storage.get_trial(number)
            if not trial.state.is_finished():
                _take(study, ws, trial)
                _work(study, ws, study.trial(slot), folder / str(slot) / "checkpoint.safetensors")
            remove_tree(folder / str(slot))
        return {"study": study.name, **summary(study.storage.get_trial(number), params)}


def summary(trial: FrozenTrial, params: Params) -> dict[str, Any]:
    """A trial for people and machines; `val_loss` is that of its best epoch so far, None before the first."""
    losses = trial.intermediate_values
    best = min(losses, key=lambda epoch: losses[epoch], default=None)
    reason = trial.user_attrs.get("reason")
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "val_loss": None if best is None else losses[best],
        "epochs": len(losses),
        "parameters": found(trial, params),
        **({"reason": reason} if reason else {}),
    }


def _take(study: Study, ws: Workspace, trial: FrozenTrial) -> None:
    """Make the trial this workspace's; its slot's lock is held, so here nobody else is at it."""
    me = f"{socket.gethostname()}:{ws.root}"
    if trial.state == TrialState.RUNNING:
        owner = trial.user_attrs.get(OWNER, {})
        silent = time.time() - owner.get("seen", 0.0)
        if is_shared(ws) and owner.get("home", me) != me and silent < SILENCE_S:
            raise SearchStopped(
                f"trial {trial.number} is at work in {owner['home']}, heard of {silent:.0f} s ago "
                f"(it can be taken over after {SILENCE_S:.0f} s of silence)"
            )
    _beat(study, ws, trial.number)
    if trial.state == TrialState.WAITING and not study.claim(trial.number):
        raise SearchStopped(f"trial {trial.number} has just been taken up by another workspace")


def _beat(study: Study, ws: Workspace, slot: int) -> None:
    me = f"{socket.gethostname()}:{ws.root}"
    study.storage.set_trial_user_attr(study.trial_id(slot), OWNER, {"home": me, "seen": time.time()})


def _work(study: Study, ws: Workspace, trial: optuna.Trial, checkpoint: Path) -> None:
    """Train, and put down how it ended: in MLflow first, since what Optuna has been told is not done again."""
    params = study.params
    values = suggest(trial, params)
    record = trial_record(params, ws, study.name, trial.number, values)
    tried = with_values(params, values)
    data = read_training_data(tried, ws)
    if study_name(params, ws) != study.name:  # only now: these files are open, and stay what they are
        raise BadInput(ws.path("encoded"), "has changed since the study was planned", PLAN_FIRST)
    told: dict[str, Any]
    try:
        with training_progress(tried.training.epochs) as show:
            report = _reporter(study, ws, trial, record, show)
            progress = fit(new_network(tried, data), data, tried, checkpoint, report)
        _make_up(trial, record, progress)
        told = {"state": TrialState.COMPLETE, "values": progress.best_loss}
    except optuna.TrialPruned:
        told = {"state": TrialState.PRUNED}
    except TrainingStopped as error:
        told = {"state": TrialState.FAIL}
        trial.set_user_attr("reason", str(error))
    _tell(study, trial, record, told)


def _reporter(study: Study, ws: Workspace, trial: optuna.Trial, record: Record, show: Report) -> Report:
    """What `fit` calls: shows, gives a sign of life, and after each epoch reports and may end the trial."""
    last = time.monotonic()

    def report(epoch: int, share: float, numbers: dict[str, float]) -> None:
        nonlocal last
        show(epoch, share, numbers)
        if time.monotonic() - last > BEAT_S:
            _beat(study, ws, trial.number)
            last = time.monotonic()
        if "val_loss" in numbers:
            trial.report(numbers["val_loss"], epoch)
            record.log(numbers, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

    return report


def _make_up(trial: optuna.Trial, record: Record, progress: Progress) -> None:
    """Report the epochs whose report a kill came before."""
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    for row in progress.history:
        if int(row["epoch"]) not in frozen.intermediate_values:
            trial.report(row["val_loss"], int(row["epoch"]))
    record.log_missing(progress.history)


def _tell(study: Study, trial: optuna.Trial, record: Record, told: dict[str, Any]) -> None:
    known = study.storage.get_trial(study.trial_id(trial.number))
    if known.state.is_finished():
        return  # another workspace took it for dead, and was quicker
    losses = [value for value in known.intermediate_values.values() if math.isfinite(value)]
    if losses:
        record.log({"best_val_loss": min(losses)})
    tags = {"state": STATES[told["state"]], "reason": known.user_attrs.get("reason", "")}
    record.end(tags, "FAILED" if told["state"] == TrialState.FAIL else "FINISHED")
    trial.study.tell(trial.number, **told)
