"""The command's steps, as `snn-fusion search` calls them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace


class Step(StrEnum):
    all = "all"
    plan = "plan"
    trial = "trial"
    best = "best"


# Options that only some steps know.
KNOWN_TO = {"--slot": {Step.trial}, "--trials": {Step.all, Step.plan}, "--jobs": {Step.all}}


def check_options(step: Step, **options: int | None) -> None:
    """Raises BadInput for an option that the step would ignore, and for a trial without its slot."""
    for name, value in options.items():
        known = KNOWN_TO[f"--{name}"]
        if value is not None and step not in known:
            raise BadInput(f"--{name}", f"means nothing to `search {step}`", f"it is for {', '.join(sorted(known))}")
    if step == Step.trial and options.get("slot") is None:
        raise BadInput("--slot", "is missing: which trial?", "`snn-fusion search plan` lists the slots")


def run_step(
    step: Step, params: Params, ws: Workspace, slot: int | None, trials: int | None, jobs: int | None, file: Path | None
) -> dict[str, Any]:
    """Each step imports what it needs."""
    if step == Step.plan:
        from snn_fusion.search.plan import plan

        return plan(params, ws, trials)
    if step == Step.trial:
        from snn_fusion.search.trial import run_trial

        return run_trial(params, ws, slot or 0)
    if step == Step.best:
        from snn_fusion.search.best import best

        return best(params, ws)
    from snn_fusion.search.everything import search

    return search(params, ws, trials, jobs, file)
