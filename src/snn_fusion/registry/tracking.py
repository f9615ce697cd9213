"""Where MLflow keeps runs and models: one SQLite file and one folder in the workspace, unless the user says else."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI = "MLFLOW_TRACKING_URI"
TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"


def database(ws: Workspace) -> Path:
    return ws.path("mlflow", "mlflow.db")


def artifact_root(ws: Workspace) -> Path:
    return ws.path("mlflow", "artifacts")


def tracking_uri(ws: Workspace) -> str:
    """$MLFLOW_TRACKING_URI (a server of the user's own), else the workspace's SQLite file."""
    return os.environ.get(URI) or f"sqlite:///{database(ws)}"


def connect(ws: Workspace) -> MlflowClient:
    """A client of the workspace's registry, and the same for MLflow's module-level functions.

    The first call in a new workspace makes the database (about 3 s). Raises BadInput if the server that
    $MLFLOW_TRACKING_URI names does not answer.
    """
    os.environ.setdefault(TELEMETRY, "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    _quiet()
    uri = tracking_uri(ws)
    if URI not in os.environ:
        _make_database(database(ws))
    _use(uri)
    try:
        with disk_errors(database(ws)):
            client = MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        raise BadInput(
            URI if URI in os.environ else database(ws),
            f"MLflow cannot be used at {uri}: {_first_line(error)}",
            "start the server, or unset the variable to use the workspace's own database",
        ) from error
    return client


def experiment_id(client: MlflowClient, params: Params, ws: Workspace) -> str:
    """The experiment of params.yaml, made on first use with its artefacts in the workspace. Raises BadInput."""
    name = params.registry.experiment
    known = client.get_experiment_by_name(name)
    if known is None:
        location = None if URI in os.environ else artifact_root(ws).as_uri()
        return str(client.create_experiment(name, artifact_location=location))
    if known.lifecycle_stage != "active":
        raise BadInput(
            "params.yaml: registry.experiment",
            f"the MLflow experiment `{name}` has been deleted",
            f"restore it with `mlflow experiments restore --experiment-id {known.experiment_id}` or choose another",
        )
    return str(known.experiment_id)


def _use(uri: str) -> None:
    """Point MLflow's module-level functions there, without the environment variables that it leaves behind."""
    import mlflow

    before = {name: os.environ.get(name) for name in (URI, "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _make_database(path: Path) -> None:
    """Make a new database beside its place and move it there, so that a kill never leaves half a schema."""
    if path.exists():
        return
    from mlflow import MlflowClient

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            MlflowClient(f"sqlite:///{temporary}", f"sqlite:///{temporary}")
            if not path.exists():
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _quiet() -> None:
    """Leave out what MLflow says about itself: migrations, type hints, input examples, download bars."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what is raised anyway
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"mlflow\.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
