"""The study: its identity, its trials, and what each of them tries. A slot's number is its trial's number."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from snn_fusion.config import Dimension, Params, check_params
from snn_fusion.errors import BadInput
from snn_fusion.search.storage import storage
from snn_fusion.search_space import parameters, put
from snn_fusion.training.stage import training_inputs
from snn_fusion.workspace import Workspace, code_digest, digest

SLOTS = "slots"
PLAN_FIRST = "run `snn-fusion search plan`"


def study_name(params: Params, ws: Workspace) -> str:
    """Carries a digest of all that a trial's value depends on, so that values of different things never meet.

    Raises BadInput if nothing has been encoded.
    """
    search = params.search.model_dump(mode="json", exclude={"trials", "max_failed_share"})
    return f"snn-fusion-{digest(training_inputs(params, ws), search, code_digest('search'))[:16]}"


@dataclass(frozen=True)
class Study:
    """A planned study in its open storage."""

    name: str
    params: Params
    storage: RDBStorage

    def trial(self, slot: int) -> optuna.Trial:
        """The slot's trial, with a sampler of its own, which draws the same whenever the same trials came before."""
        seed = int(digest(self.params.seed, slot)[:8], 16)
        pruner = MedianPruner(self.params.search.warmup_trials, self.params.search.warmup_epochs)
        sampler = TPESampler(seed=seed)
        study = optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler, pruner=pruner)
        study.get_trials(deepcopy=False)  # its cache writes only to trials that it has seen
        return optuna.Trial(study, self.trial_id(slot))

    def trials(self) -> list[FrozenTrial]:
        """All that were ever planned, by number."""
        return self.storage.get_all_trials(self._id())

    def slots(self) -> range:
        """Those of the last plan."""
        return range(int(self.storage.get_study_user_attrs(self._id())[SLOTS]))

    def trial_id(self, slot: int) -> int:
        """Raises BadInput if there is no such slot."""
        try:
            return self.storage.get_trial_id_from_study_id_trial_number(self._id(), slot)
        except KeyError:
            there = f"there are 0 to {len(self.trials()) - 1}; more with `snn-fusion search plan --trials`"
            raise BadInput("--slot", f"the study has no slot {slot}", there) from None

    def claim(self, slot: int) -> bool:
        """Whether the slot's waiting trial is running now, and this process is the one who started it."""
        return self.storage.set_trial_state_values(self.trial_id(slot), TrialState.RUNNING)

    def _id(self) -> int:
        return self.storage.get_study_id_from_name(self.name)


@contextlib.contextmanager
def open_study(params: Params, ws: Workspace) -> Iterator[Study]:
    """The study of today's encoded data and these parameters. Raises BadInput if it has not been planned."""
    name = study_name(params, ws)
    with storage(ws) as opened:
        try:
            opened.get_study_user_attrs(opened.get_study_id_from_name(name))[SLOTS]
        except KeyError:
            problem = f"there is no study {name} for the encoded recordings and parameters as they are now"
            raise BadInput("search", problem, PLAN_FIRST) from None
        yield Study(name, params, opened)


def plan_study(params: Params, ws: Workspace, trials: int) -> tuple[str, list[TrialState]]:
    """Make the study, or add what it lacks; its name and the states of its first `trials` slots.

    Every slot's trial is made here, waiting: a slot that is run twice, by whomever, finds the one that it has.
    """
    name = study_name(params, ws)
    with ws.lock("search plan", ".search.lock"), storage(ws) as opened:
        study = optuna.create_study(study_name=name, storage=opened, load_if_exists=True)
        for number in range(len(study.get_trials(deepcopy=False)), trials):
            # The first one is the parameters as they are, so that the best is never worse than these.
            study.enqueue_trial(present(params) if number == 0 else {})
        study.set_user_attr(SLOTS, trials)
        return name, [trial.state for trial in study.get_trials(deepcopy=False)[:trials]]


def suggest(trial: optuna.Trial, params: Params) -> dict[str, Any]:
    """A value for every parameter of the space."""
    now = searched(params)
    return {name: _suggest(trial, name, one, now[name]) for name, one in sorted(params.search.space.items())}


def found(trial: FrozenTrial, params: Params) -> dict[str, Any]:
    """The values that a trial was given; empty before it began."""
    space = params.search.space
    return {name: _chosen(space[name], value) for name, value in sorted(trial.params.items())}


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """The same parameters with these in their places, by dotted name."""
    raw = params.model_dump(mode="json", exclude_unset=True)
    for name, value in values.items():
        put(raw, name, value)
    return check_params(raw)


def searched(params: Params) -> dict[str, Any]:
    """The present values of the parameters that are searched."""
    known = parameters(params.network, "network") | parameters(params.training, "training")
    return {name: known[name] for name in sorted(params.search.space)}


def present(params: Params) -> dict[str, Any]:
    """Those of the present values that the search itself might give, as Optuna has them."""
    kept = {}
    for name, value in searched(params).items():
        one = params.search.space[name]
        if one.choices is not None:
            if value in one.choices:
                kept[name] = _coded(value)
        elif one.low is not None and one.high is not None and one.low <= value <= one.high:
            kept[name] = value
    return kept


def _suggest(trial: optuna.Trial, name: str, one: Dimension, now: Any) -> Any:
    if one.choices is not None:
        return _chosen(one, trial.suggest_categorical(name, [_coded(value) for value in one.choices]))
    whole = isinstance(now, int)
    draw: Any = partial(trial.suggest_int if whole else trial.suggest_float, name)
    return draw(one.low, one.high, log=one.log)


def _coded(value: Any) -> Any:
    """Optuna's choices are plain values; a list (network.recurrent) becomes text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _chosen(one: Dimension, value: Any) -> Any:
    return next(v for v in one.choices if _coded(v) == value) if one.choices is not None else value
