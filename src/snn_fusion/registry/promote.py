"""Promotion: a version becomes `champion` only through the gate, and every decision is on record."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.log_lines import context
from snn_fusion.notify import notify
from snn_fusion.registry import ledger, record, versions
from snn_fusion.registry.describe import describe
from snn_fusion.registry.gate import Answers, Verdict, answers, common_view, judge, judge_first
from snn_fusion.registry.lineage import read_data_set, testing_digest
from snn_fusion.registry.record import DONE, Record
from snn_fusion.registry.tracking import connect
from snn_fusion.registry.versions import CHALLENGER, CHAMPION, RUN_FIRST, Version, evaluated
from snn_fusion.workspace import Workspace, disk_errors, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow import MlflowClient

    from snn_fusion.benchmark.conditions import View

LONGEST_REASON = 2000  # characters; with all numbers a decision stays below MLflow's limit
ATTEMPTS = 5  # to decide on a registry that other workspaces decide on at the same time


def promote(params: Params, ws: Workspace, version: str | None = None) -> dict[str, Any]:
    """Make a version (None: the challenger) the champion if it passes the gate; else say why not.

    Every new decision is a line of the record (record.py); the same question asked again gives the recorded answer. A
    challenger that was rolled back stays so until it is named. Raises BadInput if there is no such version, its
    evaluation is missing or the record has been altered.
    """
    with ws.lock("promote"), disk_errors(ws.root):
        client = connect(ws)
        for _ in range(ATTEMPTS):
            with contextlib.suppress(record.Overtaken):
                result = _promote(client, params, ws, version)
                break
        else:
            raise SnnFusionError("other workspaces keep deciding on this model at the same time; run it again")
    if not result["up_to_date"]:
        tell(params, "champion" if result["promoted"] else "refused", result)
    return result


def tell(params: Params, kind: str, result: Mapping[str, Any]) -> None:
    """Notify people of a decision: `champion` or `refused`."""
    what = "is champion" if kind == "champion" else "was refused"
    title = f"{params.registry.model}: version {result['version']} {what}"
    notify(kind, title, result["reason"], model=params.registry.model, version=result["version"])


def _promote(client: MlflowClient, params: Params, ws: Workspace, version: str | None) -> dict[str, Any]:
    model = params.registry.model
    known = record.read(client, model, ws)
    finish(client, known, ws)
    champion = versions.by_alias(client, model, CHAMPION)
    candidate = versions.find(client, model, version) if version else versions.by_alias(client, model, CHALLENGER)
    if candidate is None and champion is None:
        raise BadInput(f"model {model}", "there is no challenger", f"{RUN_FIRST}, or name a version")
    if candidate:
        versions.graph_folder(candidate, ws)  # raises if its files are not what was registered
    if candidate is None or (champion and champion.number == candidate.number):
        stands = champion or candidate
        assert stands is not None
        return _result(stands, stands.number, Verdict(False, f"{stands} is the champion", {})) | {"up_to_date": True}
    if version is None and (why := rolled_back(known, candidate)):
        return _result(candidate, champion.number if champion else None, why) | {"up_to_date": True}
    question = _question(candidate, champion, params, ws)
    if before := _asked_before(known, question):
        verdict = Verdict(False, before["reason"], before["numbers"])
        return _result(candidate, before["champion_before"], verdict) | {"up_to_date": True}
    verdict = _decide(candidate, champion, params, ws)
    entry = record.append(client, known, _line(question, verdict), ws)
    if verdict.promoted:
        crown(client, candidate, entry, ws)
    else:
        describe(client, candidate, f"Not promoted on {entry.body['time'][:10]}: {verdict.reason}")
    return _result(candidate, question["champion_before"], verdict)


class UnknownLabels(BadInput):
    """The workspace's recordings have labels that a version has not learnt."""


def rolled_back(known: Record, candidate: Version) -> Verdict | None:
    """The refusal of a version whose last appearance in the record as champion was its end: see rollback.py."""
    for entry in reversed(known.accepted):
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
        **(_of_a_challenger(params) if champion else _of_a_first(params)),
    }


def _of_a_challenger(params: Params) -> dict[str, Any]:
    return {"significance": params.registry.significance, "max_drop": params.registry.max_drop}


def _of_a_first(params: Params) -> dict[str, Any]:
    return {"floor": params.registry.floor.model_dump(mode="json")}


def _asked_before(known: Record, question: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The recorded refusal of the very same question. An acceptance changed the champion, and so the question."""
    for entry in reversed(known.entries):
        if not entry.body["promoted"] and all(entry.body.get(key) == value for key, value in question.items()):
            return entry.body
    return None


def _line(question: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    return {
        **signature(),
        **question,
        "promoted": verdict.promoted,
        "reason": verdict.reason[:LONGEST_REASON],
        "numbers": verdict.numbers,
    }


def signature() -> dict[str, Any]:
    """When a line of the record was written, and by whom."""
    return {
        "schema": 1,
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "who": os.environ.get("SNN_FUSION_USER") or f"{getpass.getuser()}@{socket.gethostname()}",
        "airflow_run_id": os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"),
        "request_id": context().get("request_id"),
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
        versions.run_file(evaluated(candidate), "evaluation.json", ws)  # no champion without evidence
        floor = params.registry.floor
        return judge_first(_predictions(candidate, params, ws), floor.above_chance, floor.baseline, candidate.synthetic)
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
    return answers(_predictions(version, params, ws))


def _predictions(version: Version, params: Params, ws: Workspace) -> pa.Table:
    """The version's answers on the workspace's test split: those that were logged with it, or found now."""
    import pyarrow.parquet as pq

    from snn_fusion.benchmark.stage import split_rows

    today, latest = testing_digest(split_rows(ws), params), evaluated(version)
    if latest.tags.get("testing_digest") == today:
        return pq.read_table(versions.run_file(latest, "predictions.parquet", ws))
    kept = ws.path("cache", "predictions", f"{version.tags.get('graph_digest', version.run_id)}-{today}.parquet")
    if not kept.exists():
        write_atomic(kept, _test_again(version, params, ws))
    return pq.read_table(kept)


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
    """Carry out a recorded promotion. The tag comes last and says that all of it is done (see `finish`).

    Of two workspaces that promote at once, whoever sets the alias last looks into the record after it, so that the
    champion is in the end the one that was recorded last.
    """
    client.set_registered_model_alias(version.model, CHAMPION, version.number)
    last = record.read(client, version.model, ws).accepted[-1]
    if last.body["run_id"] != version.run_id:
        client.set_registered_model_alias(version.model, CHAMPION, last.body["version"])
        return
    challenger = versions.by_alias(client, version.model, CHALLENGER)
    if challenger and challenger.number == version.number:
        client.delete_registered_model_alias(version.model, CHALLENGER)
    follow(version, ws)
    day, back = entry.body["time"][:10], entry.body.get("rolled_back")
    _dethrone(client, version, entry, f"rolled back on {day}" if back else f"until {day}")
    describe(client, version, f"{'Champion again' if back else 'Promoted'} on {day}: {entry.body['reason']}")
    client.set_model_version_tag(version.model, version.number, DONE, entry.sha256)


def _dethrone(client: MlflowClient, version: Version, entry: ledger.Entry, end: str) -> None:
    before = entry.body["champion_before"]
    if before and before != version.number:
        dethroned = versions.find(client, version.model, before)
        describe(client, dethroned, f"Champion {end}; then {version} took its place.")


def follow(champion: Version, ws: Workspace) -> None:
    """Measure drift against the champion's training data, also where another workspace promoted it."""
    from snn_fusion.validation.stage import accept_profile

    profile, here = versions.run_file(champion, "validation/profile.json", ws), ws.path("reference", "profile.json")
    if not here.exists() or here.read_bytes() != profile.read_bytes():
        accept_profile(ws, profile)


def finish(client: MlflowClient, known: Record, ws: Workspace) -> None:
    """Carry out the last recorded promotion if a kill came between record and alias.

    One that is marked done is left alone, and so is an alias that someone has since set by hand. Raises BadInput if
    a version is marked with a line that the record does not have.
    """
    every = versions.every(client, known.model)
    record.check_seals(known, every)
    if not known.accepted:
        return
    entry = known.accepted[-1]
    version = next((v for v in every if v.run_id == entry.body["run_id"]), None)
    if version is None:
        return
    if version.tags.get(DONE) in (entry.sha256, entry.body.get("original", entry.sha256)):
        follow(version, ws)
        return
    champion = versions.by_alias(client, known.model, CHAMPION)
    if (champion.number if champion else None) in (entry.body["champion_before"], version.number):
        crown(client, version, entry, ws)
