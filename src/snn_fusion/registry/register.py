"""The stage `register`: the trained and evaluated network becomes a version in MLflow, as `challenger`."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.benchmark.chip_stage import judge
from snn_fusion.config import Params
from snn_fusion.data.manifest import DATA_SET
from snn_fusion.errors import BadInput
from snn_fusion.log_lines import without_password
from snn_fusion.registry import versions
from snn_fusion.registry.chip_runs import children
from snn_fusion.registry.describe import NOTE, clean_accuracy
from snn_fusion.registry.lineage import (
    DataSet,
    lock_digest,
    network_digest,
    read_data_set,
    testing_digest,
    training_code,
)
from snn_fusion.registry.seals import FILES, RATES_TAG, seals
from snn_fusion.registry.tracking import connect, database, experiment_id, on_server, tracking_uri
from snn_fusion.registry.versions import CHALLENGER, CHAMPION, EVALUATION, Version
from snn_fusion.workspace import Workspace, digest, file_digest, remove_tree

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Sections of params.yaml that say how a version is judged or its parameters were found, not what it is.
NOT_OF_THE_VERSION: dict[str, Any] = {
    "registry": {"significance", "max_drop", "floor"},
    "targets": {"max_drop", "waived"},
    "search": True,
}
EVIDENCE = ("evaluation.json", "predictions.parquet")
# Tags of a version that tell of its evaluation, which may be made again: what it was made on, and the files' digests.
OF_AN_EVALUATION = {"testing_digest", *(tag for tag, _ in FILES.values())}
ACCURACY = "accuracy"
NETWORK = "network_digest"
OF_EARLIER = ("weights_digest", "data_digest")  # by which a version of an earlier release is recognised
AUTHOR = "registered_by"  # the service lets nobody promote what is their own
COMMIT = "mlflow.source.git.commit"


def register(params: Params, ws: Workspace) -> dict[str, Any]:
    """Log one MLflow run and register its network as the newest version, `challenger`.

    The same network is the same version, however often this is run, killed or run at once; with other evidence (other
    test recordings, another chip) that is a new evaluation of it, logged in a run of its own.
    Raises BadInput if the evaluation is of another network or of other recordings.
    """
    _check_order(ws)
    _check_fidelity(params, ws)
    data = read_data_set(ws)
    inputs = {
        "data": data.digest,
        "graph": ws.path("trained", "graph", "digest").read_text().strip(),
        # The numbers, not how the report shows them.
        "evidence": digest([file_digest(ws.path("evaluated", name)) for name in EVIDENCE]),
        "chips": _chips(ws),
        "params": digest(params.model_dump(mode="json", exclude=NOT_OF_THE_VERSION)),
        "lock": lock_digest(),
    }
    identity = digest(inputs)
    inputs["store"] = without_password(tracking_uri(ws)) if on_server() else "the workspace's own"
    with ws.lock("register"):
        if not on_server() and not database(ws).exists():
            remove_tree(ws.path("registered"))  # the store that it tells of is gone

    def work(out: Path) -> dict[str, Any]:
        client, model = connect(ws), params.registry.model
        experiment = experiment_id(client, params, ws)
        tags = _tags(params, ws, data) | {"identity": identity}
        known = _same_network(client, model, tags)
        run_id = _run(client, experiment, tags, params, data, ws, known)
        version = known or _version(client, model, run_id, tags)
        if known:
            _note_evaluation(client, known, run_id, tags)
        _challenge(client, version)
        result = {
            "model": version.model,
            "version": version.number,
            "run_id": version.run_id,
            "evaluation_run": run_id,
            "synthetic": data.synthetic,
            **{key: tags[key] for key in ("weights_digest", "graph_digest", "data_digest")},
        }
        (out / "registered.json").write_text(json.dumps(result, indent=1))
        return result

    return ws.build("registered", inputs, work)


def _check_order(ws: Workspace) -> None:
    """The evaluation must be of the network and the recordings in the workspace."""
    inputs = ws.stamp("evaluated")["inputs"]
    for stage, files in (("trained", ()), ("validated", DATA_SET)):
        if inputs.get(stage) not in (None, ws.digest(stage, *files)):
            remedy = "run `snn-fusion evaluate`"
            raise BadInput(ws.path("evaluated"), f"was made before {ws.path(stage)} last changed", remedy)


def _check_fidelity(params: Params, ws: Workspace) -> None:
    """The fidelity gate: no chip may lose more than params.yaml allows, but those that it waives."""
    ws.stamp("compared")
    path = ws.path("compared", "targets.json")
    content = json.loads(path.read_text())
    if content["graph"] != ws.path("trained", "graph", "digest").read_text().strip():
        raise BadInput(path, "compares another network", "run `snn-fusion compare`")
    if content["max_drop"] != params.targets.max_drop:
        raise BadInput(path, f"allows a drop of {content['max_drop']:g}", "run `snn-fusion benchmark` and `compare`")
    for name, chip in content["targets"].items():
        there = ws.path("compiled", name, "digest")
        if chip["state"] == "measured" and there.read_text().strip() != chip["compiled"]["digest"]:
            raise BadInput(path, f"is of another artefact for {name}", f"run `snn-fusion benchmark --target {name}`")
    verdict = judge(content["targets"], {str(k): why for k, why in params.targets.waived.items()})
    if not verdict["passed"]:
        lines = "\n".join(
            f"  {name}: {why}" for name, why in verdict["problems"].items() if name not in verdict["waived"]
        )
        remedy = (
            "fix what is named and run the target's `tune`, `compile` and `benchmark`, then `compare`, again; "
            "or waive the target in params.yaml: targets.waived: {TARGET: reason}"
        )
        raise BadInput(path, f"the fidelity gate does not let this network be registered:\n{lines}\n", remedy)


def _chips(ws: Workspace) -> str:
    """Digest of what runs on each chip and what it answered, not of how long that took or how it is judged."""
    targets = json.loads(ws.path("compared", "targets.json").read_text())["targets"]
    said = {name: [one["state"], one.get("compiled", {}).get("digest"), _answers(one)] for name, one in targets.items()}
    return digest(said)


def _answers(chip: dict[str, Any]) -> dict[str, Any]:
    fidelity = chip.get("fidelity", {})
    return {c: {view: [one["chip"], one["agreement"]] for view, one in views.items()} for c, views in fidelity.items()}


def _tags(params: Params, ws: Workspace, data: DataSet) -> dict[str, str]:
    from snn_fusion.benchmark.stage import split_rows
    from snn_fusion.registry.run import airflow_tags

    meta = json.loads(ws.path("trained", "graph", "graph.json").read_text())
    return {
        COMMIT: meta["training"].get("commit", "unknown"),
        "graph_digest": ws.path("trained", "graph", "digest").read_text().strip(),
        "weights_digest": meta["weights_sha256"],
        NETWORK: network_digest(ws.path("trained", "graph"), data),
        "data_digest": data.digest,
        "testing_digest": testing_digest(split_rows(ws), params),
        "code_digest": training_code(ws),
        "lock_digest": lock_digest(),
        "synthetic": str(data.synthetic).lower(),
        "seed": str(params.seed),
        ACCURACY: clean_accuracy(json.loads(ws.path("evaluated", "evaluation.json").read_text())),
        AUTHOR: os.environ.get("SNN_FUSION_USER") or getpass.getuser(),
        **seals(ws),
        **airflow_tags(),
    }


def _same_network(client: MlflowClient, model: str, tags: Mapping[str, str]) -> Version | None:
    """The version of this very network, however it was judged, if there is one."""
    for version in versions.every(client, model):
        names = (NETWORK,) if NETWORK in version.tags else OF_EARLIER
        if all(version.tags.get(name) == tags[name] for name in names):
            return version
    return None


def _run(
    client: MlflowClient,
    experiment: str,
    tags: dict[str, str],
    params: Params,
    data: DataSet,
    ws: Workspace,
    known: Version | None,
) -> str:
    """The finished run of this identity; what a kill left of an earlier try is deleted first.

    Of a network that is registered already it is a new evaluation.
    """
    from snn_fusion.registry.run import log_evaluation, log_run

    home = f"{socket.gethostname()}:{ws.root}"
    for run in _runs(client, experiment, tags["identity"]):
        if run.info.status == "FINISHED":
            return str(run.info.run_id)
        if not on_server() or run.data.tags.get("workspace") == home:  # else someone is at it with the same server
            _delete(client, experiment, run)
    tags = {**tags, "workspace": home}
    if known:
        return log_evaluation(client, experiment, tags, params, data, ws, known)
    return log_run(client, experiment, tags, params, data, ws)


def _note_evaluation(client: MlflowClient, version: Version, run_id: str, tags: Mapping[str, str]) -> None:
    """The version's latest evaluation is that of a run. The tag that names it comes last: until then the one before
    stands, with all that its tags say.
    """
    if versions.evaluated(version).run_id == run_id:
        return
    said = {versions.of_run_tag(name, run_id): tags[name] for name in OF_AN_EVALUATION & tags.keys()}
    for name, value in {**said, ACCURACY: tags[ACCURACY], EVALUATION: run_id}.items():
        client.set_model_version_tag(version.model, version.number, name, value)


def _challenge(client: MlflowClient, version: Version) -> None:
    """The newest network challenges the champion, unless it is the champion: then nobody does."""
    champion = versions.by_alias(client, version.model, CHAMPION)
    if champion is None or champion.number != version.number:
        client.set_registered_model_alias(version.model, CHALLENGER, version.number)
    elif versions.by_alias(client, version.model, CHALLENGER):
        client.delete_registered_model_alias(version.model, CHALLENGER)


def _runs(client: MlflowClient, experiment: str, identity: str) -> list[Run]:
    """Runs of this identity, finished ones first."""
    found = client.search_runs([experiment], f"tags.identity = '{identity}'")
    return sorted(found, key=lambda run: (run.info.status != "FINISHED", run.info.start_time))


def _delete(client: MlflowClient, experiment: str, run: Run) -> None:
    for child in children(client, experiment, run.info.run_id):
        client.delete_run(child)
    for model in client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'"):
        client.delete_logged_model(model.model_id)
    client.set_terminated(run.info.run_id, "KILLED")
    client.delete_run(run.info.run_id)


def _version(client: MlflowClient, model: str, run_id: str, tags: dict[str, str]) -> Version:
    """The version of a run, made if there is none. Of two that register a network at once, the first one's counts."""
    from mlflow.exceptions import MlflowException

    if known := versions.of_run(client, model, run_id):
        return known
    try:
        client.create_registered_model(model, description="Spiking fusion network of SNN-Fusion; see docs/registry.md")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run = client.get_run(run_id)
    logged = run.outputs.model_outputs[0].model_id
    tags = {**tags, **{key: run.data.tags[key] for key in (RATES_TAG,) if key in run.data.tags}}
    kept = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    made = client.create_model_version(
        model,
        f"models:/{logged}",
        run_id,
        tags={**kept, "commit": tags[COMMIT]},
        description=run.data.tags.get(NOTE, ""),
        model_id=logged,
    )
    first = _same_network(client, model, tags)
    if first and first.number != str(made.version):
        client.delete_model_version(model, str(made.version))
        return first
    return Version(model, str(made.version), run_id, dict(made.tags))
