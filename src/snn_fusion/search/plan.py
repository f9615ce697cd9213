"""The slots of a search: one trial each, for as many processes as there are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from snn_fusion.config import Params
from snn_fusion.search.record import study_record
from snn_fusion.search.study import plan_study
from snn_fusion.search.trial import STATES
from snn_fusion.workspace import Workspace


def plan(params: Params, ws: Workspace, trials: int | None = None) -> dict[str, Any]:
    """Make the study of today's encoded data, or take it up again; `slots` are the numbers of its trials.

    Planning more trials than before adds to the study; finished ones stay what they are.
    """
    name, states = plan_study(params, ws, trials or params.search.trials)
    record = study_record(params, ws, name)
    return {
        "study": name,
        "slots": list(range(len(states))),
        "states": dict(Counter(STATES[state] for state in states)),
        "mlflow_run": record.run_id,
    }
