"""One MLflow run for one pipeline run: parameters, curves, numbers, lineage, files and the model."""

from __future__ import annotations

import csv
import getpass
import importlib.metadata
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import yaml

from snn_fusion.config import Params
from snn_fusion.data.recording import SENSES
from snn_fusion.log_lines import context
from snn_fusion.registry.chip_runs import PARENT, log_chips
from snn_fusion.registry.describe import NOTE, description, run_name
from snn_fusion.registry.frame import PARTS
from snn_fusion.registry.lineage import DataSet
from snn_fusion.registry.seals import RATES_TAG
from snn_fusion.registry.versions import GRAPH, Version
from snn_fusion.workspace import PACKAGE, Workspace, file_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.models import ModelSignature

# What the logged model imports; versions are those of this environment, which requirements.lock pins.
REQUIREMENTS = (
    *("mlflow", "torch", "numpy", "pandas", "numba", "nir", "h5py", "safetensors", "pydantic", "pyyaml"),
    *("pyarrow", "filelock", "rich", "soundfile", "scipy"),
)
FILES = (
    ("compared/report.html", None),
    ("compared/targets.json", None),
    ("evaluated/evaluation.json", None),
    ("evaluated/predictions.parquet", None),
    ("validated/recordings.parquet", "data"),
    ("validated/joined.parquet", "data"),
    ("validated/validation.html", "validation"),
    ("validated/validation.json", "validation"),
    ("validated/profile.json", "validation"),
    ("trained/history.csv", "training"),
    ("trained/training.json", "training"),
)
MOST_METRICS = 1000  # MLflow's limit of one batch
LONGEST_DIGEST = 36  # MLflow's limit; the whole digest is in the data set's profile and in the tags


def log_run(
    client: MlflowClient, experiment: str, tags: Mapping[str, str], params: Params, data: DataSet, ws: Workspace
) -> str:
    """Log everything about the network in the workspace; the run's id. It is FINISHED only when all is logged.

    The run's duration is the training's own.
    """
    import mlflow

    start, end = training_time(ws)
    evaluation, run_id = _begin(client, experiment, tags, params, data, ws, start_time=start)
    _log_metrics(client, run_id, list(curves(ws.path("trained", "history.csv"))))
    with mlflow.start_run(run_id=run_id):  # its end is what sets FINISHED
        model_id = _log_model(tags, ws)
        _log_metrics(client, run_id, list(results(evaluation)), model_id)
    client.set_terminated(run_id, "FINISHED", end_time=end)
    return run_id


def log_evaluation(
    client: MlflowClient,
    experiment: str,
    tags: Mapping[str, str],
    params: Params,
    data: DataSet,
    ws: Workspace,
    version: Version,
) -> str:
    """Log a new evaluation of a version's network, in a run nested in the version's; the run's id."""
    tags = {**tags, PARENT: version.run_id, "evaluation_of": version.number}
    evaluation, run_id = _begin(client, experiment, tags, params, data, ws, prefix="evaluation of ")
    _log_metrics(client, run_id, list(results(evaluation)))
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _begin(
    client: MlflowClient,
    experiment: str,
    tags: Mapping[str, str],
    params: Params,
    data: DataSet,
    ws: Workspace,
    prefix: str = "",
    start_time: int | None = None,
) -> tuple[dict[str, Any], str]:
    """A run with what every evaluation has: parameters, data sets, files, chips. evaluation.json and the run's id."""
    evaluation: dict[str, Any] = json.loads(ws.path("evaluated", "evaluation.json").read_text())
    name = prefix + run_name(evaluation, data, tags["weights_digest"])
    tags = {**_source(), **tags, NOTE: description(evaluation, data.synthetic)}
    run = client.create_run(experiment, start_time=start_time, tags=tags, run_name=name)
    run_id = str(run.info.run_id)
    _log_params(client, run_id, params)
    _log_files(client, run_id, params, ws)
    client.log_inputs(run_id, [_data_set(data, split, f"{run.info.artifact_uri}/data") for split in ("train", "test")])
    log_chips(client, experiment, run_id, tags, ws)
    return evaluation, run_id


def training_time(ws: Workspace) -> tuple[int, int]:
    """When the training in the workspace began and ended, in ms since 1970: the sum of its epochs, up to its end."""
    end = ws.path("trained", "stage.json").stat().st_mtime
    with ws.path("trained", "history.csv").open(newline="") as file:
        seconds = sum(float(row.get("seconds") or 0) for row in csv.DictReader(file))
    return int(1000 * (end - seconds)), int(1000 * end)


def flat(params: Params) -> dict[str, str]:
    """`section.key: value` for every leaf that a network depends on or is judged by; lists as JSON."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            yield prefix, value if isinstance(value, str) else json.dumps(value)

    return dict(walk("", params.model_dump(mode="json", exclude={"search"})))


def curves(history: Path) -> Iterator[tuple[str, float, int]]:
    """(name, value, epoch) of every number in trained/history.csv."""
    with history.open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row["epoch"])
            yield from ((k, float(v), epoch) for k, v in row.items() if k != "epoch" and v and math.isfinite(float(v)))


def results(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """(name, value, 0) of every accuracy and of the synaptic operations in evaluation.json."""
    for condition, views in evaluation["accuracy"].items():
        yield from ((f"accuracy.{condition}.{view}", float(one["value"]), 0) for view, one in views.items())
    for view, found in evaluation.get("synaptic_operations", {}).items():
        for name in ("effective_acs", "dense"):
            if name in found:
                yield f"synaptic_operations.{view}.{name}", float(found[name]["value"]), 0


def _source() -> dict[str, str]:
    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "snn-fusion register", "mlflow.source.type": "JOB"}


def _log_params(client: MlflowClient, run_id: str, params: Params) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value) for key, value in flat(params).items()])


def _log_metrics(
    client: MlflowClient, run_id: str, found: list[tuple[str, float, int]], model_id: str | None = None
) -> None:
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    for start in range(0, len(found), MOST_METRICS):
        batch = found[start : start + MOST_METRICS]
        client.log_batch(run_id, [Metric(name, value, now, step, model_id=model_id) for name, value, step in batch])


def _data_set(data: DataSet, split: str, place: str) -> DatasetInput:
    """The lineage of one split: what it holds, where its sources came from, the digest of the whole data set.

    `place`: the folder among the run's artefacts that lists every recording.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {"digest": data.digest, "synthetic": data.synthetic, **data.profile(split), "sources": data.origins}
    scheme = urlparse(place).scheme
    kind = "local" if scheme in ("", "file") else scheme
    source = json.dumps({"uri": place})
    dataset = Dataset(f"recordings-{split}", data.digest[:LONGEST_DIGEST], kind, source, profile=json.dumps(profile))
    context = "training" if split == "train" else "testing"
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _log_files(client: MlflowClient, run_id: str, params: Params, ws: Workspace) -> None:
    for name, folder in FILES:
        if ws.path(name).exists():
            client.log_artifact(run_id, str(ws.path(name)), folder)
    for stage in ("evaluated", "compared"):
        if ws.path(stage, "figures").is_dir():
            client.log_artifacts(run_id, str(ws.path(stage, "figures")), "figures")
    _log_rates(client, run_id, ws)
    client.log_text(run_id, yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False), "params.yaml")


def _log_rates(client: MlflowClient, run_id: str, ws: Workspace) -> None:
    """The rates of spikes on the training recordings, which a service compares its traffic with."""
    from snn_fusion.network.graph import load_graph
    from snn_fusion.registry import rates

    with tempfile.TemporaryDirectory() as folder:
        graph = load_graph(ws.path("trained", "graph"))
        if profile := rates.write_rates(graph, ws, Path(folder) / rates.FILE):
            client.log_artifact(run_id, str(profile))
            client.set_tag(run_id, RATES_TAG, file_digest(profile))


def _log_model(tags: Mapping[str, str], ws: Workspace) -> str:
    """Log the graph with the file that runs it and the source of the package; the id of the logged model."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "registry" / "pyfunc_model.py"),
            artifacts={GRAPH: str(ws.path("trained", "graph")), "source": str(source)},
            signature=signature(),
            pip_requirements=requirements(),
            metadata={key: value for key, value in tags.items() if key.endswith("_digest")},
        )
    return str(info.model_id)


def signature() -> ModelSignature:
    """Columns in: `<sense>_step` and `<sense>_channel`, lists of whole numbers; out: `label` and `potential`."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    numbers = Array(DataType.long)
    inputs = [ColSpec(numbers, f"{sense}_{part}", required=False) for sense in SENSES for part in PARTS]
    outputs = [ColSpec(DataType.string, "label"), ColSpec(Array(DataType.double), "potential")]
    return ModelSignature(Schema(inputs), Schema(outputs))


def requirements() -> list[str]:
    """Exact versions of what the model needs, without a build's local label (`2.13.0+cpu`)."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def airflow_tags() -> dict[str, str]:
    """The DAG run that this process is a task of, and the request that asked for it, if there is one."""
    names = {"dag_id": "airflow.dag_id", "run_id": "airflow.run_id", "request_id": "request_id"}
    return {names[field]: value for field, value in context().items() if field in names}
