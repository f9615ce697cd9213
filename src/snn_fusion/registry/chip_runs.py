"""In MLflow, one run nested in the network's for each target: its artefact, numbers with provenance, and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.registry import versions
from snn_fusion.registry.seals import ARTEFACT_TAG, GRAPH_TAG
from snn_fusion.registry.versions import Version
from snn_fusion.targets.names import TITLES
from snn_fusion.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"


def log_chips(client: MlflowClient, experiment: str, parent: str, tags: Mapping[str, str], ws: Workspace) -> None:
    """Log each target of compared/targets.json. A target that is unavailable has a run that says why."""
    content = json.loads(ws.path("compared", "targets.json").read_text())
    for name, chip in content["targets"].items():
        weights = tags["weights_digest"][:8]
        own = {PARENT: parent, "target": name, "state": chip["state"], "graph_digest": tags["graph_digest"]}
        run_id = str(
            client.create_run(experiment, tags=own | _said(chip), run_name=f"{TITLES[name]} {weights}").info.run_id
        )
        if chip["state"] == "measured":
            _log(client, run_id, name, chip, ws)
        client.set_terminated(run_id, "FAILED" if chip["state"] == "failed" else "FINISHED")


def children(client: MlflowClient, experiment: str, parent: str) -> list[str]:
    """Ids of the runs nested in `parent`."""
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'")
    return [str(run.info.run_id) for run in found]


def artefacts(client: MlflowClient, version: Version, ws: Workspace, only: str | None = None) -> dict[str, Path]:
    """What was compiled of a version for each target (or one), in the workspace's cache."""
    return {
        target: versions.artefact_folder(version, run.info.run_id, target, run.data.tags.get(ARTEFACT_TAG), ws)
        for target, run in measured(client, version, only).items()
    }


def measured(client: MlflowClient, version: Version, only: str | None = None) -> dict[str, Run]:
    """The run of each target (or one) that was measured: of the version's latest evaluation if the target was measured
    there, else as it was registered."""
    experiment = client.get_run(version.run_id).info.experiment_id
    last: dict[str, Run] = {}
    for parent in dict.fromkeys((version.run_id, versions.evaluated(version).run_id)):
        measured = f"tags.`{PARENT}` = '{parent}' and tags.state = 'measured'"
        for run in client.search_runs([experiment], measured + (f" and tags.target = '{only}'" if only else "")):
            own = version.tags.get(GRAPH_TAG)
            if run.data.tags.get(GRAPH_TAG, own) == own:  # where it is not said, the artefact itself says it
                last[run.data.tags["target"]] = run
    return last


def numbers(chip: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """(name, value, provenance) of everything that has a value, fidelity among it."""
    for one in chip["measurements"]:
        if one["value"] is not None:
            yield one["metric"].replace("(", "").replace(")", ""), float(one["value"]), one["provenance"]
    for condition, views in chip["fidelity"].items():
        for view, one in views.items():
            yield f"agreement.{condition}.{view}", float(one["agreement"]), "emulated"
            yield f"drop.{condition}.{view}", float(one["float"] - one["chip"]), "emulated"


def _said(chip: Mapping[str, Any]) -> dict[str, str]:
    if chip["state"] != "measured":
        return {"mlflow.note.content": chip["why"]}
    state = "passed" if chip["passed"] else "not passed"
    return {
        "artefact_digest": chip["compiled"]["digest"],
        "fidelity": state,
        "mlflow.note.content": f"Fidelity gate {state}; conformance: {chip['compiled']['conformance']['tool']}.",
    }


def _log(client: MlflowClient, run_id: str, name: str, chip: Mapping[str, Any], ws: Workspace) -> None:
    from mlflow.entities import Metric, RunTag

    found = list(numbers(chip))
    client.log_batch(run_id, [Metric(key, value, 0, 0) for key, value, _ in found])
    client.log_batch(run_id, tags=[RunTag(f"provenance.{key}", kind) for key, _, kind in found if "." not in key])
    client.log_artifacts(run_id, str(ws.path("compiled", name)), "artefact")
    client.log_artifact(run_id, str(ws.path("measured", name, "measured.json")))
    if "mapping" in chip["compiled"]:
        client.log_dict(run_id, {"mapping": chip["compiled"]["mapping"]}, "mapping.json")
    for picture in sorted(ws.path("compared", "figures").glob("*.png")):
        client.log_artifact(run_id, str(picture), "figures")
