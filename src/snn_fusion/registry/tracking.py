"""Where MLflow keeps runs and models: one SQLite file and one folder in the workspace, unless the user says else."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.log_lines import without_password
from snn_fusion.registry.place import settle
from snn_fusion.registry.reach import check_reachable
from snn_fusion.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI = "MLFLOW_TRACKING_URI"
TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"
KIND_TAG = "mlflow.experimentKind"
KIND = "custom_model_development"  # the kind of experiment whose runs MLflow's pages show under model training
ANSWER_S = 6.0  # that a server which can be reached may take for MLflow's first question
# For all requests after it, unless the user says else: MLflow's own are 7 tries of 120 s, five minutes of silence
# where nothing listens.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def database(ws: Workspace) -> Path:
    return ws.path("mlflow", "mlflow.db")


def artifact_root(ws: Workspace) -> Path:
    return ws.path("mlflow", "artifacts").resolve()


def tracking_uri(ws: Workspace) -> str:
    """$MLFLOW_TRACKING_URI (a server of the user's own), else the workspace's SQLite file."""
    return os.environ.get(URI) or f"sqlite:///{database(ws)}"


def connect(ws: Workspace) -> MlflowClient:
    """A client of the workspace's registry, and the same for MLflow's module-level functions.

    The first call in a new workspace makes the database (about 3 s); the first one after the workspace was moved or
    copied makes its URIs those of this place. Raises BadInput within seconds if the server that
    $MLFLOW_TRACKING_URI names does not answer.
    """
    os.environ.setdefault(TELEMETRY, "true")
    uri, own = tracking_uri(ws), not on_server()
    try:
        check_reachable(uri)
    except OSError as error:
        raise _unusable(URI, uri, error) from error
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    _quiet()
    if own:
        _make_database(database(ws))
        settle(database(ws), ws.root)
    _use(uri)
    try:
        with disk_errors(database(ws)):
            client = MlflowClient(uri, uri)
            if own:
                client.search_experiments(max_results=1)
            else:
                _probe(client)
    except (MlflowException, TimeoutError) as error:
        raise _unusable(database(ws) if own else URI, uri, error) from error
    return client


def _unusable(where: Path | str, uri: str, error: Exception) -> BadInput:
    problem = f"MLflow cannot be used at {without_password(uri)}: {without_password(_first_line(error))}"
    return BadInput(where, problem, "start the server, or unset the variable to use the workspace's own database")


def on_server() -> bool:
    """Whether the registry is one that the user named, and not the workspace's own."""
    return bool(os.environ.get(URI))


def _probe(client: MlflowClient) -> None:
    """One small question within ANSWER_S, however slowly bytes come. Raises TimeoutError or MLflow's own error."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    said: list[Exception | None] = []

    def ask() -> None:
        try:
            client.search_experiments(max_results=1)
        except Exception as error:  # raised again in the thread that waits
            said.append(error)
        else:
            said.append(None)

    asking = threading.Thread(target=ask, daemon=True)  # one that hangs must not keep the process
    asking.start()
    asking.join(ANSWER_S)
    if not said:
        raise TimeoutError(f"no answer in {ANSWER_S:g} s")
    if said[0] is not None:
        raise said[0]


def experiment_id(client: MlflowClient, params: Params, ws: Workspace) -> str:
    """The experiment of params.yaml, made on first use with its artefacts in the workspace. Raises BadInput."""
    name = params.registry.experiment
    known = client.get_experiment_by_name(name)
    if known is None:
        location = None if on_server() else artifact_root(ws).as_uri()
        return str(client.create_experiment(name, artifact_location=location, tags={KIND_TAG: KIND}))
    if known.lifecycle_stage != "active":
        raise BadInput(
            "params.yaml: registry.experiment",
            f"the MLflow experiment `{name}` has been deleted",
            f"restore it with `mlflow experiments restore --experiment-id {known.experiment_id}` or choose another",
        )
    if KIND_TAG not in known.tags:
        client.set_experiment_tag(known.experiment_id, KIND_TAG, KIND)
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
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what is raised anyway
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"mlflow\.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
