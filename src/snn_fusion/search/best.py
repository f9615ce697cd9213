"""What the search found: the best trial's parameters as a file for `train`, and a table of all trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from snn_fusion.config import Params
from snn_fusion.search.record import study_record
from snn_fusion.search.storage import SearchStopped
from snn_fusion.search.study import open_study, with_values
from snn_fusion.search.trial import summary
from snn_fusion.strict_yaml import write_yaml
from snn_fusion.workspace import Workspace, disk_errors, write_atomic

BAD = ("failed", "unfinished", "waiting")
MOST_REASONS = 5


def best(params: Params, ws: Workspace) -> dict[str, Any]:
    """Write `search/best.yaml`; all trials and the best of them, the one of lowest validation loss.

    Raises SearchStopped if no trial is complete, or too many of the last plan's slots failed or are not finished.
    """
    with open_study(params, ws) as study:
        trials = [summary(trial, params) for trial in study.trials()]
        planned = trials[: len(study.slots())]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    _check(planned, complete, params.search.max_failed_share)
    chosen = min(complete, key=lambda trial: (trial["val_loss"], trial["trial"]))
    file = ws.path("search", "best.yaml")
    with disk_errors(file):
        write_atomic(file, _text(params, study.name, chosen))
    record = study_record(params, ws, study.name)
    record.log({"best_val_loss": chosen["val_loss"]})
    record.attach(file)
    counts = Counter(trial["state"] for trial in trials)
    record.end({"best_trial": str(chosen["trial"]), **{f"trials_{k}": str(n) for k, n in counts.items()}}, "FINISHED")
    return {"study": study.name, "best": chosen, "file": str(file), "states": dict(counts), "trials": trials}


def print_best(result: dict[str, Any], console: Console | None = None) -> None:
    """The table of trials, the best first, and what to do next."""
    console = console or Console()
    names = sorted(result["best"]["parameters"])
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("trial", "state", "val loss", "epochs", *names):
        table.add_column(title, justify="left" if title == "state" else "right", overflow="fold")
    for trial in sorted(result["trials"], key=_order):
        style = "bold green" if trial["trial"] == result["best"]["trial"] else None
        values = [_short(trial["parameters"].get(name, "")) for name in names]
        loss = "" if trial["val_loss"] is None else f"{trial['val_loss']:.4f}"
        table.add_row(str(trial["trial"]), trial["state"], loss, str(trial["epochs"]), *values, style=style)
    console.print(table)
    for trial in result["trials"]:
        if "reason" in trial:
            console.print(Text(f"trial {trial['trial']} failed: {trial['reason']}", style="yellow"), soft_wrap=True)
    console.print(Text(f"best: trial {result['best']['trial']}; trial 0 has the values of the parameters file"))
    console.print(Text(f"train with it: snn-fusion train --params {result['file']}"), soft_wrap=True)


def _check(planned: Sequence[dict[str, Any]], complete: Sequence[dict[str, Any]], max_share: float) -> None:
    bad = [trial for trial in planned if trial["state"] in BAD]
    if complete and len(bad) <= max_share * len(planned):
        return
    states = ", ".join(f"{n} {state}" for state, n in sorted(Counter(trial["state"] for trial in planned).items()))
    reasons = [f"\n  trial {one['trial']}: {one['reason']}" for one in bad if "reason" in one][:MOST_REASONS]
    allowed = f"search.max_failed_share {max_share:g} allows {int(max_share * len(planned))} failed or not finished"
    problem = allowed if complete else "none is complete"
    raise SearchStopped(f"of {len(planned)} trials {states}: {problem}{''.join(reasons)}")


def _text(params: Params, study: str, chosen: dict[str, Any]) -> str:
    head = f"# Trial {chosen['trial']} of {study}: validation loss {chosen['val_loss']:.4f}\n"
    return head + write_yaml(with_values(params, chosen["parameters"]))


def _order(trial: dict[str, Any]) -> tuple[bool, float, int]:
    finished = trial["state"] == "complete"
    return not finished, trial["val_loss"] if trial["val_loss"] is not None else float("inf"), trial["trial"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
