"""What a registry is: its champion, the record of promotions, and the champion's answers to a hundred recordings.

Observed with each backup, and again in what was restored of it: `differences` says what is not the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.backup.tools import Damaged, run
from snn_fusion.config import Params, check_params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import ledger, record, versions
from snn_fusion.registry.processes import ALONE
from snn_fusion.registry.sealed import check_registry
from snn_fusion.registry.seals import FILES
from snn_fusion.registry.tracking import URI, connect, database
from snn_fusion.workspace import PACKAGE, Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from snn_fusion.data.manifest import Row

RECORDINGS = 100
TOLERANCE = 1e-3  # of a score, which depends on the order in which a processor adds
Observed = dict[str, Any]
NOTHING: Observed = {"champion": None, "record": None, "answers": {}}  # where there is no registry


def observe(params: Params, root: Path, restored: bool, env: Mapping[str, str] | None = None) -> Observed:
    """`look` in a process of its own, whose MLflow uses the server that `env` names.

    Raises Damaged in what was `restored`, in which everything is checked, otherwise SnnFusionError.
    """
    environment = {**os.environ, **(env or {})}
    if not environment.get(URI) and not database(Workspace(root)).exists():
        return dict(NOTHING)
    command = [
        sys.executable,
        *ALONE,
        "-m",
        "snn_fusion.backup.observed",
        str(root),
        "restored" if restored else "live",
    ]
    source = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    environment |= {"PYTHONPATH": source, "SNN_FUSION_HOME": str(root), "PARAMS": params.model_dump_json()}
    done = run(command, environment, limit_s=1800)
    if done.code == 0:
        return dict(json.loads(done.out.splitlines()[-1]))
    lines = [line.removeprefix("error ") for line in done.err.splitlines() if line.strip()]
    message = lines[-1] if lines else done.message
    raise Damaged(message) if restored else SnnFusionError(message)


def look(params: Params, ws: Workspace, restored: bool) -> Observed:
    """`champion` (version, digests) or None, `record` (decisions, digest of the last), `answers` by recording.

    Raises BadInput for a file that is not what was registered, a record of promotions that was altered, or a damaged
    recording.
    """
    client, model = connect(ws), params.registry.model
    if restored:
        record.read(client, model, ws)
        check_registry(client, model, ws)
    champion = versions.by_alias(client, model, versions.CHAMPION)
    if champion is None:
        return {"champion": None, "record": _decisions(client, model), "answers": {}}
    graph = versions.graph_folder(champion, ws)
    evaluation = versions.evaluated(champion)
    for name, (tag, _) in FILES.items():
        if tag in evaluation.tags:
            versions.run_file(evaluation, name, ws)
    digests = {name: champion.tags.get(name) for name in ("graph_digest", "weights_digest", "network_digest")}
    return {
        "champion": {"version": champion.number, **digests},
        "record": _decisions(client, model),
        "answers": _answers(graph, ws),
    }


def differences(expected: Observed, found: Observed) -> list[str]:
    """How two observations differ, for people; empty where they are the same."""
    messages = []
    for name in ("champion", "record"):
        if expected[name] != found[name]:
            messages.append(f"{name}: {_short(found[name])} instead of {_short(expected[name])}")
    missing = sorted(expected["answers"].keys() - found["answers"].keys())
    if missing:
        messages.append(f"{len(missing)} recordings are missing, {missing[0]} first")
    changed = [
        name
        for name, answer in expected["answers"].items()
        if name in found["answers"] and not same_answer(answer, found["answers"][name])
    ]
    if changed:
        messages.append(
            f"{len(changed)} of {len(expected['answers'])} recordings get another answer, {changed[0]} first"
        )
    return messages


def same_answer(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """The same label, and the same scores as far as processors agree."""
    if first["label"] != second["label"] or len(first["scores"]) != len(second["scores"]):
        return False
    return all(abs(a - b) <= TOLERANCE for a, b in zip(first["scores"], second["scores"], strict=True))


def sample(rows: Sequence[Row], count: int = RECORDINGS) -> list[Row]:
    """`count` of these recordings, always the same and of all kinds: chosen by the digest of their id."""
    return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:count]


def _short(value: object) -> str:
    if not isinstance(value, dict):
        return "none"
    return ", ".join(f"{name} {str(entry)[:12]}" for name, entry in value.items())


def _decisions(client: MlflowClient, model: str) -> dict[str, Any] | None:
    """How many decisions the registry's record holds, and the digest of the last one, which covers all before it."""
    from mlflow.exceptions import MlflowException

    try:
        run_id = client.get_registered_model(model).tags.get(record.POINTER)
    except MlflowException:
        return None
    if run_id is None:
        return None
    lines = {key: value for key, value in client.get_run(run_id).data.params.items() if key.isdecimal()}
    entries = ledger.chain([lines[key] for key in sorted(lines)], f"MLflow run {run_id}")
    return {"decisions": len(entries), "last": entries[-1].sha256 if entries else ledger.BEGINNING}


def _answers(graph_folder: Path, ws: Workspace) -> dict[str, Any]:
    """Label and scores for each of the chosen test recordings that the network can sense."""
    from snn_fusion.benchmark.stage import split_rows
    from snn_fusion.data.dataset import JOINED
    from snn_fusion.data.manifest import load_together
    from snn_fusion.encoding.encoder import encode_together, with_taps
    from snn_fusion.network.fusion import decide
    from snn_fusion.network.graph import load_graph

    if not ws.path("validated").is_dir():
        return {}
    graph = load_graph(graph_folder)
    known = [row for row in split_rows(ws) if row.source != JOINED and any(row.has(s) for s in graph.network.senses)]
    answers = {}
    for row in sample(known):
        refs = {sense: row.senses[sense] for sense in graph.network.senses if row.has(sense)}
        spikes = encode_together(load_together(ws.path("recordings"), refs), graph.encoding)[0]
        inputs = {sense: with_taps(train, graph.encoding) for sense, train in spikes.items()}
        scores = graph.network.run(inputs, 1).potential[:, -1]
        label = graph.classes[int(decide(scores)[0])]
        answers[row.id] = {"label": label, "scores": [round(float(score), 6) for score in scores[0]]}
    return answers


def main() -> int:
    """`python -m snn_fusion.backup.observed ROOT restored|live`, with the parameters in the variable PARAMS."""
    try:
        params, ws = check_params(json.loads(os.environ["PARAMS"])), Workspace(Path(sys.argv[1]))
        sys.stdout.write("\n" + json.dumps(look(params, ws, sys.argv[2] == "restored")) + "\n")
    except BadInput as error:
        sys.stderr.write("\nerror " + " ".join(str(error).split()) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
