"""What a run of the DAG is doing, read from the JSON lines that `airflow dags test` prints."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from snn_fusion.targets.names import NAMES

CHIP = ("tune", "compile", "benchmark")  # a stage of each target, named as `tune loihi2`
STAGES = (
    *("import", "validate", "encode", "train", "evaluate", "speakers"),
    *(f"{stage} {name}" for name in NAMES for stage in CHIP),
    *("compare", "register", "promote", "package", "push"),
)
# What the DAG calls the tasks of its group, and which of its mapped ones it is.
TASK = r"\[DAG TEST\] (starting|end) task(?: task)?_id=(?:chip\.)?(\S+)(?: map_index=(-?\d+))?"
State = Literal["waiting", "running", "retrying", "done", "skipped", "failed", "not run"]


@dataclass
class StageRun:
    """One stage in one run of the DAG; `result` is the JSON line it printed, `output` its last other lines."""

    name: str
    state: State = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    exit_code: int | None = None
    result: dict[str, Any] = field(default_factory=dict)
    output: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def up_to_date(self) -> bool:
        """Done, and there was nothing to do."""
        return self.state == "done" and bool(self.result.get("up_to_date"))

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started if self.state == "running" else self.seconds


class DagLog:
    """Follows a run, line by line. `other` keeps the last lines that belong to no stage."""

    def __init__(self) -> None:
        self.stages = {name: StageRun(name) for name in STAGES}
        self.current: StageRun | None = None
        self.other: deque[str] = deque(maxlen=60)

    def feed(self, line: str) -> str | None:
        """Take in one line of Airflow's output; returns the line that a stage printed, if it is one."""
        try:
            record = json.loads(line)
            event, logger = str(record["event"]), str(record.get("logger", ""))
        except (ValueError, KeyError, TypeError):
            self.other.append(line)
            return None
        if match := re.match(TASK, event):
            index = int(match[3] or -1)
            self._switch(match[1] == "starting", match[2] if index < 0 else f"{match[2]} {NAMES[index]}")
        elif self.current and logger.endswith("SubprocessHook"):
            return self._output(self.current, event)
        elif self.current and event == "Task instance state updated" and "new_state" in record:
            self._finish(self.current, str(record["new_state"]))
        elif record.get("level") in ("error", "critical"):
            self.other.append(_with_exception(event, record))
        return None

    def close(self) -> None:
        """The run is over: what has not started never will."""
        for stage in self.stages.values():
            if stage.state in ("running", "retrying"):
                self._finish(stage, "failed")
            elif stage.state == "waiting":
                stage.state = "skipped" if self._of_skipped_chip(stage.name) else "not run"

    def _of_skipped_chip(self, name: str) -> bool:
        """Airflow skips the later stages of a chip without a word."""
        stage, _, chip = name.partition(" ")
        return stage in CHIP and self.stages[f"{CHIP[0]} {chip}"].state == "skipped"

    @property
    def failed(self) -> StageRun | None:
        return next((stage for stage in self.stages.values() if stage.state == "failed"), None)

    def _switch(self, starting: bool, task: str) -> None:
        self.current = self.stages.get(task) if starting else None
        if self.current:
            self.current.output.clear()
            self.current.result = {}
            self.current.state, self.current.started = "running", time.monotonic()

    def _output(self, stage: StageRun, event: str) -> str | None:
        if match := re.fullmatch(r"Command exited with return code (-?\d+)", event):
            stage.exit_code = int(match[1])
            return None
        if event.startswith("Running command: "):
            stage.started = time.monotonic()  # what came before was Airflow's own time
            return None
        if event == "Output:" or event.startswith("Tmp dir root location: "):
            return None
        if event.startswith("{"):
            try:
                stage.result = json.loads(event)
                return None
            except ValueError:
                pass
        if re.fullmatch(r"\s*up to date\s+True\s*", event):  # of the table that `evaluate` prints
            stage.result["up_to_date"] = True
        stage.output.append(event)
        return event

    def _finish(self, stage: StageRun, state: str) -> None:
        stage.seconds = time.monotonic() - stage.started
        names: dict[str, State] = {"success": "done", "up_for_retry": "retrying", "skipped": "skipped"}
        stage.state = names.get(state, "failed")


def _with_exception(event: str, record: dict[str, Any]) -> str:
    raised = record.get("exception") or []
    return event + "".join(f"\n{one.get('exc_type')}: {one.get('exc_value')}" for one in raised)
