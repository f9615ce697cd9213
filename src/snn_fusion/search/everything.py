"""The whole search without Airflow: plan, every trial in a process of its own, best."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from snn_fusion import log_lines
from snn_fusion.config import Params
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.embedded_airflow import program
from snn_fusion.registry.processes import running
from snn_fusion.search.best import best
from snn_fusion.search.plan import plan
from snn_fusion.search.study import open_study
from snn_fusion.search.trial import summary
from snn_fusion.training.loop import THREADS
from snn_fusion.workspace import Workspace, disk_errors, project_root

LOOK_S = 0.5
LAST_LINES = 15


class TrialRefused(SnnFusionError):
    """A trial's process refused its input: so would all others."""

    exit_code = 2


@dataclass
class Search:
    """The trials that are at work, and those that wait."""

    params: Params
    ws: Workspace
    file: Path
    waiting: list[int]
    active: dict[int, tuple[subprocess.Popen[str], contextlib.ExitStack]] = field(default_factory=dict)

    def log(self, slot: int) -> Path:
        return self.ws.path("logs", f"search-trial-{slot}.txt")

    def start(self, slot: int) -> None:
        command = [program("snn-fusion"), "search", "trial", "--slot", str(slot), "--params", str(self.file)]
        block = contextlib.ExitStack()
        with disk_errors(self.log(slot)):
            self.log(slot).parent.mkdir(parents=True, exist_ok=True)
            output = block.enter_context(self.log(slot).open("w"))
        env = os.environ | {"SNN_FUSION_HOME": str(self.ws.root), "NO_COLOR": "1"}
        self.active[slot] = (block.enter_context(running(command, env, output)), block)

    def ended(self) -> Iterator[tuple[int, int]]:
        """(slot, exit code) of each process that has ended since the last look."""
        for slot, (process, block) in list(self.active.items()):
            if (code := process.poll()) is not None:
                del self.active[slot]
                block.close()
                yield slot, code

    def close(self) -> None:
        for _, block in self.active.values():
            block.close()


def search(
    params: Params, ws: Workspace, trials: int | None = None, jobs: int | None = None, file: Path | None = None
) -> dict[str, Any]:
    """Plan, run and sum up; `file` is what `params` was read from, and each trial's process reads it again.

    `jobs` trials run at once; as many as the cores can feed unless it is given. Raises SearchStopped as `best` does,
    TrialRefused if a trial refused its input.
    """
    planned = plan(params, ws, trials)
    jobs = jobs or max(1, (os.cpu_count() or 1) // THREADS)
    at_work = Search(params, ws, (file or project_root() / "params.yaml").resolve(), planned["slots"])
    with contextlib.closing(at_work), _Shown(at_work) as shown:
        while at_work.waiting or at_work.active:
            while at_work.waiting and len(at_work.active) < jobs:
                at_work.start(at_work.waiting.pop(0))
            time.sleep(LOOK_S)
            for slot, code in at_work.ended():
                shown.ended(slot, code)
            shown.update()
    return best(params, ws)


class _Shown:
    """A bar and what is at work on a terminal; everywhere a line for each trial that ended."""

    def __init__(self, search: Search) -> None:
        self.search, self.console = search, log_lines.console()
        columns = (
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=len(search.waiting))
        self.best: float | None = None

    def __enter__(self) -> _Shown:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def ended(self, slot: int, code: int) -> None:
        self.bar.advance(self.task)
        if code:
            self._failed(slot, code)
            return
        trial = self._trials([slot])[0]
        better = trial["state"] == "complete" and (self.best is None or trial["val_loss"] < self.best)
        self.best = trial["val_loss"] if better else self.best
        loss = "" if trial["val_loss"] is None else f", val loss {trial['val_loss']:.4f}"
        why = f": {trial['reason']}" if "reason" in trial else ""
        mark = ", best so far" if better else ""
        self._print(f"trial {slot}: {trial['state']} after {trial['epochs']} epochs{loss}{mark}{why}")

    def update(self) -> None:
        if self.bar.disable or not self.search.active:
            return
        parts = [f"{one['trial']}: epoch {one['epochs'] + 1}" for one in self._trials(list(self.search.active))]
        self.bar.update(self.task, description="at work: trial " + ", ".join(parts))

    def _failed(self, slot: int, code: int) -> None:
        """A process that ended without telling how its trial went."""
        said = self.search.log(slot).read_text(errors="replace").splitlines()[-LAST_LINES:]
        text = "\n".join(said) or "it printed nothing"
        if code == 2:
            raise TrialRefused(f"trial {slot} refused its input:\n{text}")
        self._print(f"trial {slot}: its process ended with exit {code}; run the search again to go on with it\n{text}")

    def _trials(self, slots: list[int]) -> list[dict[str, Any]]:
        with open_study(self.search.params, self.search.ws) as study:
            return [summary(study.storage.get_trial(study.trial_id(slot)), self.search.params) for slot in slots]

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
