"""What the registry and the workspace know, for the routes: plain data, read in threads (see registry_routes.py)."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params, load_params
from snn_fusion.errors import BadInput
from snn_fusion.registry import versions
from snn_fusion.registry.seals import Altered
from snn_fusion.registry.tracking import URI, connect, database
from snn_fusion.registry.versions import CHAMPION, Version
from snn_fusion.serving.packaged import check, is_package
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.query import bad
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import Workspace, project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# A tracking server that does not answer holds a thread no longer than this: seconds, tries.
NEXT = "the next_page of another answer, or leave it out"
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Records:
    """The registry of the workspace. Every method raises Problem 503 where it cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def package(self) -> Path | None:
        """The folder of a packaged model, which knows of no registry."""
        folder = self.settings.folder
        return folder if folder is not None and is_package(folder) else None

    def client(self) -> MlflowClient:
        ws = Workspace.default()
        if self.package:
            raise Problem(503, "registry", "this service was packaged and has none", "ask where the model was trained")
        if URI not in os.environ and not database(ws).exists():
            raise Problem(503, "registry", "nothing was registered in this workspace", "run `snn-fusion register`")
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            return connect(ws)
        except BadInput:  # whose text may hold the server's address and password
            raise Problem(503, "registry", "MLflow cannot be used", "ask again later", retry_after=10) from None

    def models(self) -> list[dict[str, Any]]:
        """All versions, newest first, with their aliases; of a package its one version."""
        if self.package:
            return [{"version": str(check(self.package)["version"]), "digest": check(self.package)["graph"]}]
        client, model = self.client(), params(self.settings.params).registry.model
        found = versions.every(client, model)
        aliases = client.get_registered_model(model).aliases if found else {}
        return [
            {
                "version": one.number,
                "aliases": sorted(name for name, number in aliases.items() if str(number) == one.number),
                "digest": one.tags.get("graph_digest"),
                "weights_digest": one.tags.get("weights_digest"),
                "data_digest": one.tags.get("data_digest"),
                "synthetic": one.synthetic,
                "registered_by": one.tags.get("registered_by"),
                "experiment": one.run_id,
            }
            for one in reversed(found)
        ]

    def version(self, number: str) -> Version:
        """Raises Problem 404."""
        try:
            return versions.find(self.client(), params(self.settings.params).registry.model, number)
        except BadInput as error:
            raise Problem(404, "version", error.problem, error.remedy) from None

    def experiments(self, limit: int, page: str | None) -> dict[str, Any]:
        """The runs of the registry's experiment, newest first, and the next page's token. Raises Problem 400."""
        if page:
            _check_page(page)
        client = self.client()
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(params(self.settings.params).registry.experiment)
        if experiment is None:
            return {"experiments": [], "next_page": None}
        try:
            runs = client.search_runs([experiment.experiment_id], max_results=limit, page_token=page)
        except MlflowException as error:
            if page and error.error_code == "INVALID_PARAMETER_VALUE":
                raise bad("page", "is no page", NEXT) from None
            raise
        return {"experiments": [_head(run) for run in runs], "next_page": _text(runs.token)}

    def experiment(self, run_id: str) -> dict[str, Any]:
        """One run: parameters, last metrics, tags. Raises Problem 404."""
        client = self.client()
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise Problem(404, "id", "there is no such experiment", "see /api/experiments") from None
            raise
        tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
        return {**_head(run), "params": dict(run.data.params), "metrics": dict(run.data.metrics), "tags": tags}

    def benchmarks(self) -> dict[str, Any]:
        """The chips side by side, as `compare` last left them, else as they were registered with the champion."""
        ws = Workspace.default()
        try:
            path, source = ws.path("compared", "targets.json"), "workspace"
            if not path.is_file():
                champion = versions.by_alias(self.client(), params(self.settings.params).registry.model, CHAMPION)
                if champion is None:
                    raise Problem(404, "benchmarks", "no network has been compared", "run `snn-fusion compare`")
                path, source = (
                    versions.run_file(versions.evaluated(champion), "targets.json", ws),
                    f"version {champion.number}",
                )
            found: dict[str, Any] = json.loads(path.read_text())
        except Altered as error:
            raise Problem(503, "benchmarks", error.problem, "the workspace's owner can restore it") from None
        except BadInput as error:
            raise Problem(404, "benchmarks", error.problem, "run `snn-fusion compare`") from None
        return {"source": source, **found}


def _check_page(token: str) -> None:
    """MLflow's tokens are `{"offset": N}` in base64; of others it takes some for the first page. Raises Problem 400."""
    try:
        offset = json.loads(base64.b64decode(token, validate=True))["offset"]
    except (ValueError, TypeError, KeyError):
        offset = None
    if type(offset) is not int or not 0 <= offset < 2**31:
        raise bad("page", "is no page", NEXT)


def _text(token: str | bytes | None) -> str | None:
    """SQLite's store gives bytes."""
    return token.decode() if isinstance(token, bytes) else token or None


def _head(run: Run) -> dict[str, Any]:
    info, tags = run.info, run.data.tags
    return {
        "id": info.run_id,
        "name": info.run_name,
        "status": info.status,
        "started_ms": info.start_time,
        "ended_ms": info.end_time,
        "parent": tags.get("mlflow.parentRunId"),
        "digest": tags.get("graph_digest"),
    }


@cache
def params(file: str) -> Params:
    """The parameters (a file, or the checkout's) as they were when they were first asked for."""
    return load_params(Path(file) if file else project_root() / "params.yaml")
