"""The search in MLflow: a run for the study, below it a run for each trial."""

from __future__ import annotations

import getpass
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params
from snn_fusion.registry.run import airflow_tags, flat
from snn_fusion.registry.tracking import connect, experiment_id
from snn_fusion.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
LONGEST_TAG = 5000  # MLflow's own limit is 8000


@dataclass(frozen=True)
class Record:
    """A run of MLflow that is being written."""

    client: MlflowClient
    run_id: str

    def log(self, numbers: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        kept = {name: value for name, value in numbers.items() if name != "epoch" and math.isfinite(value)}
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in kept.items()])

    def log_missing(self, history: Iterable[Mapping[str, float]]) -> None:
        """The epochs that a kill came before."""
        there = {one.step for one in self.client.get_metric_history(self.run_id, "val_loss")}
        for row in history:
            if int(row["epoch"]) not in there:
                self.log(row, int(row["epoch"]))

    def end(self, tags: Mapping[str, str], status: str) -> None:
        """`status` is one of MLflow's: FINISHED, FAILED."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value[:LONGEST_TAG]) for key, value in tags.items()])
        self.client.set_terminated(self.run_id, status)

    def attach(self, file: Path) -> None:
        self.client.log_artifact(self.run_id, str(file))


def study_record(params: Params, ws: Workspace, study: str) -> Record:
    """The study's run, with all parameters; made on first use, and the same one ever after."""
    with ws.lock("search", ".search.lock"):
        client = connect(ws)
        tags = {"study": study, "identity": study}
        space = params.search.space.items()
        shown = {f"search.space.{name}": one.model_dump_json(exclude_defaults=True) for name, one in space}
        return _record(client, experiment_id(client, params, ws), f"search {study[-8:]}", tags, flat(params) | shown)


def trial_record(params: Params, ws: Workspace, study: str, slot: int, values: Mapping[str, Any]) -> Record:
    """The run of a trial, with the parameters that it tries; the slot's lock must be held."""
    parent = study_record(params, ws, study)
    tags = {
        PARENT: parent.run_id,
        "study": study,
        "trial": str(slot),
        "identity": f"{study}/{slot}",
        "state": "running",
    }
    tried = {name: str(value) for name, value in values.items()}
    experiment = parent.client.get_run(parent.run_id).info.experiment_id
    return _record(parent.client, experiment, f"trial {slot}", tags, tried)


def _record(
    client: MlflowClient, experiment: str, name: str, tags: dict[str, str], values: Mapping[str, str]
) -> Record:
    """The run of this identity, made if there is none; what a kill left out of it is added."""
    from mlflow.entities import Param, RunTag

    there = client.search_runs([experiment], f"tags.identity = '{tags['identity']}'", max_results=1)
    if there:
        run, known = there[0], there[0].data.params
        client.update_run(run.info.run_id, "RUNNING")
    else:
        source = {"mlflow.source.name": "snn-fusion search", "mlflow.source.type": "JOB"}
        made_by = {"mlflow.user": getpass.getuser(), **source, **airflow_tags()}
        run, known = client.create_run(experiment, tags={**made_by, **tags}, run_name=name), {}
    missing = [Param(key, value) for key, value in values.items() if key not in known]
    client.log_batch(run.info.run_id, [], missing, [RunTag(key, value) for key, value in tags.items()])
    return Record(client, str(run.info.run_id))
