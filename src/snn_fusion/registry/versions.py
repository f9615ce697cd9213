"""Registered versions: looking them up, their tags and their files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from snn_fusion.errors import BadInput
from snn_fusion.registry import seals
from snn_fusion.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
GRAPH = "graph"  # the graph folder's name among the logged model's artefacts
EVALUATION = "evaluation_run"  # tag: the run of the latest evaluation, where that is not the version's own run
RUN_FIRST = "run `snn-fusion register`"


@dataclass(frozen=True)
class Version:
    """One version of a registered model. `tags` are strings; see docs/registry.md."""

    model: str
    number: str
    run_id: str
    tags: dict[str, str]

    @property
    def synthetic(self) -> bool:
        return self.tags.get("synthetic") == "true"

    def __str__(self) -> str:
        return f"version {self.number}"


def evaluated(version: Version) -> Version:
    """The version as its latest evaluation left it: with that one's run, and what the tags say of that run (the digests
    of its files, what it was made on), in the place of those of the run that registered it.
    """
    run_id = version.tags.get(EVALUATION, version.run_id)
    ending = of_run_tag("", run_id)
    latest = {name.removesuffix(ending): value for name, value in version.tags.items() if name.endswith(ending)}
    return replace(version, run_id=run_id, tags={**version.tags, **latest})


def of_run_tag(name: str, run_id: str) -> str:
    """The tag of a version that says `name` of one of its later evaluations."""
    return f"{name}.{run_id}"


def by_alias(client: MlflowClient, model: str, alias: str) -> Version | None:
    """The version that has an alias, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(client.get_model_version_by_alias(model, alias))
    except MlflowException as error:
        if _absent(error):
            return None
        raise


def every(client: MlflowClient, model: str) -> list[Version]:
    """All versions, oldest first."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name='{model}'", page_token=token)
        found += [_version(version) for version in page]
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.number))


def of_run(client: MlflowClient, model: str, run_id: str) -> Version | None:
    """The version registered from a run, if there is one."""
    return next((version for version in every(client, model) if version.run_id == run_id), None)


def find(client: MlflowClient, model: str, name: str) -> Version:
    """The version of this number or alias. Raises BadInput saying what there is."""
    from mlflow.exceptions import MlflowException

    if not name.isdecimal():
        found = by_alias(client, model, name)
    else:
        try:
            found = _version(client.get_model_version(model, name))
        except MlflowException as error:
            if not _absent(error):
                raise
            found = None
    if found is None:
        there = [version.number for version in every(client, model)]
        known = f"registered: {', '.join(there)}" if there else RUN_FIRST
        raise BadInput(f"model {model}", f"there is no version or alias {name!r}", known)
    return found


def graph_folder(version: Version, ws: Workspace) -> Path:
    """The version's graph, copied out of the store into the workspace's cache, and checked against the version's tag.

    Raises BadInput if it cannot be fetched, Altered if it is not what was registered.
    """
    kept = ws.path("cache", "models", version.tags.get("graph_digest") or f"{version.model}-{version.number}")
    source = {"artifact_uri": f"models:/{version.model}/{version.number}/artifacts/{GRAPH}"}
    return _fetched(
        kept,
        source,
        version,
        "its files cannot be fetched",
        partial(seals.check_graph, version=str(version), tags=version.tags),
    )


def run_file(version: Version, name: str, ws: Workspace) -> Path:
    """A file or folder that was logged with the version's run, in the cache.

    Raises BadInput if there is none, Altered if it is not what was registered.
    """
    kept = ws.path("cache", "runs", version.run_id, name)
    source = {"run_id": version.run_id, "artifact_path": name}
    check = partial(seals.check_file, name=name, version=str(version), tags=version.tags)
    return _fetched(kept, source, version, f"its run {version.run_id} has no {name}", check)


def artefact_folder(version: Version, run_id: str, target: str, expected: str | None, ws: Workspace) -> Path:
    """What was compiled of a version for `target`, logged in the run `run_id`, whose digest has to be `expected`.

    Raises BadInput if there is none, Altered if it is not what was registered.
    """
    kept = ws.path("cache", "runs", run_id, "artefact")
    source = {"run_id": run_id, "artifact_path": "artefact"}
    graph = version.tags.get(seals.GRAPH_TAG)
    check = partial(seals.check_artefact, version=str(version), target=target, graph=graph, expected=expected)
    return _fetched(kept, source, version, f"its run {run_id} has no artefact", check)


def logged_rates(version: Version, ws: Workspace) -> Path | None:
    """The file of rates that was registered with a version; None if there is none. Raises Altered."""
    try:
        return run_file(version, seals.RATES, ws)
    except seals.Altered:
        raise
    except BadInput:
        return None  # registered where the training recordings were not at hand


def _fetched(kept: Path, source: dict[str, str], version: Version, problem: str, check: Callable[[Path], None]) -> Path:
    """`kept`, which is there whole or not at all: else MLflow's `source` is downloaded. Raises BadInput.

    `check` looks at it each time, and before a copy is kept.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if kept.exists():
        check(kept)
        return kept
    try:
        with disk_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{kept.name}.", dir=kept.parent) as building:
                found = Path(download_artifacts(**source, dst_path=building))
                check(found)
                try:
                    found.replace(kept)
                except OSError:
                    if not kept.exists():  # else another one was first
                        raise
    except (MlflowException, OSError) as error:
        raise BadInput(f"model {version.model}, {version}", f"{problem}: {error}", "register it again") from error
    return kept


def _version(found: ModelVersion) -> Version:
    return Version(found.name, str(found.version), found.run_id, dict(found.tags))


def _absent(error: Exception) -> bool:
    # An alias that was never set is INVALID_PARAMETER_VALUE, a model that was never registered RESOURCE_DOES_NOT_EXIST.
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
