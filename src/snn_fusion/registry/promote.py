"""Promotion: a version becomes `champion` only through the gate, and every decision is on record."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger, versions
from snn_fusion.registry.gate import Answers, Verdict, answers, common_view, judge
from snn_fusion.registry.lineage import read_data_set, testing_digest
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import CHALLENGER, CHAMPION, RUN_FIRST, Version
from snn_fusion.workspace import Workspace, disk_errors, write_atomic

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from snn_fusion.benchmark.conditions import View

RECORD = "promotions.jsonl"
DONE = "promotion"  # tag of a version: SHA-256 of the record's line that made it champion


def promote(params: Params, ws: Workspace, version: str | None = None) -> dict[str, Any]:
    """Make a version (None: the challenger) the champion if it passes the gate; else say why not.

    Every new decision is a line of promotions.jsonl; the same question asked again gives the recorded answer. A
    challenger that was rolled back stays so until it is named. Raises BadInput if there is no such version, its
    evaluation is missing or the record has been altered.
    """
    with ws.lock("promote"), disk_errors(ws.root):
        client, model = connect(ws), params.registry.model
        record = ledger.read(ws.path(RECORD))
        finish(client, model, record, ws)
        champion = versions.by_alias(client, model, CHAMPION)
        candidate = versions.find(client, model, version) if version else versions.by_alias(client, model, CHALLENGER)
        if candidate is None:
            raise BadInput(f"model {model}", "there is no challenger", f"{RUN_FIRST}, or name a version")
        versions.graph_folder(candidate, ws)  # raises if its files are not what was registered
        if champion and champion.number == candidate.number:
            stands = Verdict(False, f"{candidate} is the champion", {})
            return _result(candidate, champion.number, stands) | {"up_to_date": True}
        if version is None and (why := rolled_back(record, candidate)):
            return _result(candidate, champion.number if champion else None, why) | {"up_to_date": True}
        question = _question(candidate, champion, params, ws)
        if known := _asked_before(record, question):
            verdict = Verdict(False, known["reason"], known["numbers"])
            return _result(candidate, known["champion_before"], verdict) | {"up_to_date": True}
        verdict = _decide(candidate, champion, params, ws)
        entry = ledger.append(ws.path(RECORD), _line(question, verdict))
        if verdict.promoted:
            crown(client, candidate, entry, ws)
        else:
            _describe(client, candidate, entry)
        return _result(candidate, question["champion_before"], verdict)


class UnknownLabels(BadInput):
    """The workspace's recordings have labels that a version has not learnt."""


def rolled_back(record: list[ledger.Entry], candidate: Version) -> Verdict | None:
    """The refusal of a version whose last appearance in the record as champion was its end: see rollback.py."""
    for entry in reversed(record):
        if entry.body["promoted"] and entry.body["model"] == candidate.model:
            if entry.body["run_id"] == candidate.run_id:
                return None
            if entry.body.get("rolled_back") and entry.body["champion_before"] == candidate.number:
                reason = f"{candidate} was rolled back on {entry.body['time'][:10]}: name it to promote it all the same"
                return Verdict(False, reason, {})
    return None


def _question(candidate: Version, champion: Version | None, params: Params, ws: Workspace) -> dict[str, Any]:
    from snn_fusion.benchmark.stage import split_rows

    return {
        "model": candidate.model,
        "version": candidate.number,
        "run_id": candidate.run_id,
        "champion_before": champion.number if champion else None,
        "testing_digest": testing_digest(split_rows(ws), params),
        "significance": params.registry.significance,
        "max_drop": params.registry.max_drop,
    }


def _asked_before(record: list[ledger.Entry], question: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The recorded refusal of the very same question. An acceptance changed the champion, and so the question."""
    for entry in reversed(record):
        if not entry.body["promoted"] and all(entry.body.get(key) == value for key, value in question.items()):
            return entry.body
    return None


def _line(question: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    return {
        **signature(),
        **question,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "numbers": verdict.numbers,
    }


def signature() -> dict[str, Any]:
    """When a line of the record was written, and by whom."""
    return {
        "schema": 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": os.environ.get("SNN_FUSION_USER") or f"{getpass.getuser()}@{socket.gethostname()}",
        "airflow_run_id": os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"),
    }


def _result(candidate: Version, before: str | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "version": candidate.number,
        "champion_before": before,
        "numbers": verdict.numbers,
        "up_to_date": False,
    }


def _decide(candidate: Version, champion: Version | None, params: Params, ws: Workspace) -> Verdict:
    if champion is None:
        versions.run_file(candidate, "evaluation.json", ws)  # no champion without evidence
        kind = "synthetic" if candidate.synthetic else "real"
        return Verdict(True, f"the first champion: there was none to compare with (trained on {kind} recordings)", {})
    if candidate.synthetic and not champion.synthetic:
        reason = f"trained on synthetic recordings, and the champion, {champion}, on real ones"
        return Verdict(False, reason, {})
    if read_data_set(ws).synthetic and not candidate.synthetic:
        reason = "trained on real recordings, and those in the workspace, to compare on, are synthetic"
        return Verdict(False, reason, {})
    try:
        old = _answers(champion, params, ws)
    except UnknownLabels as error:
        reason = f"the champion, {champion}, cannot be tested on today's recordings: {error.problem}"
        return Verdict(False, reason, {})
    new = _answers(candidate, params, ws)
    view = common_view(old, new)
    if view is None:
        return Verdict(False, f"{candidate} and the champion, {champion}, give no answers to compare", {})
    return judge(old[view], new[view], params.registry.significance, params.registry.max_drop)


def _answers(version: Version, params: Params, ws: Workspace) -> Mapping[View, Answers]:
    """The version's answers on the workspace's test split: those that were logged with it, or found now."""
    import pyarrow.parquet as pq

    from snn_fusion.benchmark.stage import split_rows

    today = testing_digest(split_rows(ws), params)
    if version.tags.get("testing_digest") == today:
        return answers(pq.read_table(versions.run_file(version, "predictions.parquet", ws)))
    kept = ws.path("cache", "predictions", f"{version.tags.get('graph_digest', version.run_id)}-{today}.parquet")
    if not kept.exists():
        write_atomic(kept, _test_again(version, params, ws))
    return answers(pq.read_table(kept))


def _test_again(version: Version, params: Params, ws: Workspace) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from snn_fusion.benchmark.console import Progress, warn_of_encoder
    from snn_fusion.benchmark.document import predictions
    from snn_fusion.benchmark.evaluate import evaluate_rows
    from snn_fusion.benchmark.stage import split_rows
    from snn_fusion.network.graph import load_graph

    graph, rows = load_graph(versions.graph_folder(version, ws)), split_rows(ws)
    if unknown := sorted({row.label for row in rows} - set(graph.classes)):
        raise UnknownLabels(f"model {version.model}, {version}", f"it does not know {', '.join(unknown)}")
    warn_of_encoder(graph)
    with Progress() as progress:
        found = evaluate_rows(graph, rows, ws.path("recordings"), params.seed, progress)
    sink = pa.BufferOutputStream()
    pq.write_table(predictions(found), sink, compression="zstd")
    return bytes(sink.getvalue())


def crown(client: MlflowClient, version: Version, entry: ledger.Entry, ws: Workspace) -> None:
    """Carry out a recorded promotion. The tag comes last and says that all of it is done (see `finish`)."""
    from snn_fusion.validation.stage import accept_profile

    client.set_registered_model_alias(version.model, CHAMPION, version.number)
    accept_profile(ws, versions.run_file(version, "validation/profile.json", ws))
    _describe(client, version, entry)
    client.set_model_version_tag(version.model, version.number, DONE, entry.sha256)


def _describe(client: MlflowClient, version: Version, entry: ledger.Entry) -> None:
    """The decision, where people look at the version in MLflow."""
    what = "Promoted" if entry.body["promoted"] else "Not promoted"
    if entry.body.get("rolled_back"):
        what = "Champion again"
    text = f"{what} on {entry.body['time'][:10]}: {entry.body['reason']}"
    client.update_model_version(version.model, version.number, text)


def finish(client: MlflowClient, model: str, record: list[ledger.Entry], ws: Workspace) -> None:
    """Carry out the last recorded promotion if a kill came between record and alias.

    One that is marked done is left alone, and so is an alias that someone has since set by hand. Raises BadInput if
    a version is marked with a line that the record does not have.
    """
    accepted = [entry for entry in record if entry.body["promoted"] and entry.body["model"] == model]
    if not accepted:
        return
    entry, seals = accepted[-1], {one.sha256 for one in accepted}
    version = next((v for v in versions.every(client, model) if v.run_id == entry.body["run_id"]), None)
    if version is None or (done := version.tags.get(DONE)) == entry.sha256:
        return
    if done is not None and done not in seals:
        problem = f"the line that made {version} of {model} champion is not as it was written"
        raise BadInput(ws.path(RECORD), problem, ledger.TAMPERED)
    champion = versions.by_alias(client, model, CHAMPION)
    if (champion.number if champion else None) in (entry.body["champion_before"], version.number):
        crown(client, version, entry, ws)
