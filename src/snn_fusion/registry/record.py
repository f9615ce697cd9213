"""The record of promotions of a registered model, kept in MLflow beside it and copied to every workspace that uses it.

The record is a run of its own. Its parameters `000001`, `000002`, ... are the lines of the chain (ledger.py). MLflow
never changes a parameter that is logged, and of two writers of the same parameter one is refused: so decisions are only
ever appended, and two workspaces on one server cannot decide over each other's heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import ledger, versions
from snn_fusion.registry.ledger import Entry
from snn_fusion.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RECORD = "promotions.jsonl"  # in the workspace
POINTER = "promotions_run"  # tag of the registered model: the id of the run that is its record
DONE = "promotion"  # tag of a version: SHA-256 of the record's line that made it champion
LONGEST = 6000  # characters of a parameter, MLflow's own limit, which would cut the line without a word
NOTE = "The record of promotions of this registered model, one decision a parameter; see docs/registry.md. Keep it."


class Overtaken(Exception):
    """Another workspace decided first; what this one was about to record rests on an earlier state."""


@dataclass(frozen=True)
class Record:
    """The decisions about a model, oldest first, and the run that keeps them (None: no version is registered)."""

    model: str
    run_id: str | None
    entries: list[Entry]

    @property
    def accepted(self) -> list[Entry]:
        """Who became champion, oldest first. Lines adopted from a workspace's own file come in order of time."""
        found = [one for one in self.entries if one.body["promoted"] and one.body["model"] == self.model]
        return sorted(found, key=lambda one: one.body["time"] if _of_a_file(one) else "9999")


def read(client: MlflowClient, model: str, ws: Workspace) -> Record:
    """The model's record, checked against its chain and the workspace's copy, which is then brought up to date.

    Decisions that only the workspace's file has, from before registries kept a record, are added first. The caller
    holds the workspace's lock. Raises BadInput if either has been altered or the record's run is gone.
    """
    known = versions.every(client, model)
    run_id = _run(client, model, known)
    if run_id is None:
        return Record(model, None, [])
    while True:
        entries = _entries(client, run_id)
        try:
            if not _adopt(client, Record(model, run_id, entries), known, ws):
                break
        except Overtaken:
            continue
    _copy(run_id, entries, ws)
    return Record(model, run_id, entries)


def append(client: MlflowClient, record: Record, body: Mapping[str, Any], ws: Workspace) -> Entry:
    """Add a decision that was made knowing `record`. Raises Overtaken if another workspace has decided since."""
    if record.run_id is None:
        raise SnnFusionError(f"model {record.model} has no version to decide about")
    entry = ledger.following(record.entries, {**body, "record": record.run_id})
    _put(client, record.run_id, len(record.entries) + 1, entry)
    _copy(record.run_id, [*record.entries, entry], ws)
    return entry


def seals(entries: Sequence[Entry]) -> set[str]:
    """The digests that the entries are known by: of their lines, and of the lines that they were adopted from."""
    return {one.sha256 for one in entries} | {one.body["original"] for one in entries if "original" in one.body}


def _of_a_file(entry: Entry) -> bool:
    return "record" not in entry.body or "original" in entry.body


def _put(client: MlflowClient, run_id: str, number: int, entry: Entry) -> None:
    from mlflow.exceptions import MlflowException

    if len(entry.line) > LONGEST:
        raise SnnFusionError(f"a decision of {len(entry.line)} characters does not fit into MLflow's {LONGEST}")
    try:
        client.log_param(run_id, f"{number:06d}", entry.line)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE" and f"{number:06d}" in _fetch(client, run_id).data.params:
            raise Overtaken from error
        raise


def _entries(client: MlflowClient, run_id: str) -> list[Entry]:
    lines = {key: value for key, value in _fetch(client, run_id).data.params.items() if key.isdecimal()}
    where = f"MLflow run {run_id}, the record of promotions"
    for number, key in enumerate(sorted(lines), start=1):
        if int(key) != number:
            raise BadInput(where, f"decision {number} is missing", ledger.TAMPERED)
    return ledger.chain([lines[key] for key in sorted(lines)], where)


def _fetch(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        remedy = f"restore MLflow from a backup, or begin a new record: tag the model {POINTER}=ID of a new, empty run"
        raise BadInput(f"MLflow run {run_id}", "the record of promotions is gone", remedy) from None
    if run.info.lifecycle_stage != "active":
        remedy = f"restore it: mlflow runs restore --run-id {run_id}"
        raise BadInput(f"MLflow run {run_id}", "the record of promotions has been deleted", remedy)
    return run


def _run(client: MlflowClient, model: str, known: Sequence[versions.Version]) -> str | None:
    """The run that keeps the record, made on first use.

    Of several workspaces that make one at once, that one counts which the run of the oldest version names first.
    """
    from mlflow.exceptions import MlflowException

    first = next((one.run_id for one in known if one.run_id), None)
    if first is None:
        return None
    if pointer := client.get_registered_model(model).tags.get(POINTER):
        return str(pointer)
    claimed = client.get_run(first)
    if POINTER not in claimed.data.params:
        tags = {"mlflow.note.content": NOTE, "record_of": model}
        made = client.create_run(claimed.info.experiment_id, tags=tags, run_name=f"promotions of {model}")
        client.set_terminated(made.info.run_id)
        try:
            client.log_param(first, POINTER, made.info.run_id)
        except MlflowException:
            client.delete_run(made.info.run_id)
        claimed = client.get_run(first)
    found = str(claimed.data.params[POINTER])
    client.set_registered_model_tag(model, POINTER, found)
    return found


def _adopt(client: MlflowClient, record: Record, known: Sequence[versions.Version], ws: Workspace) -> bool:
    """Add the decisions of the workspace's own file that this registry lacks; whether there were any.

    As they are where the record is empty, so that their seals stay good; else each on a new line naming the old one.
    """
    path = ws.path(RECORD)
    ours = [one for one in ledger.read(path) if "record" not in one.body]
    there = seals(record.entries)
    missing = [one for one in ours if one.sha256 not in there and one.body["model"] == record.model]
    missing = [one for one in missing if _exists(client, one.body["run_id"], known)]
    if not missing or record.run_id is None:
        return False
    as_they_are = not record.entries and missing == ours
    check_seals(Record(record.model, record.run_id, [*record.entries, *missing]), known)
    entries = list(record.entries)
    for one in missing:
        body = {**one.body, "record": record.run_id, "original": one.sha256}
        entry = one if as_they_are else ledger.following(entries, body)
        _put(client, record.run_id, len(entries) + 1, entry)
        entries.append(entry)
    return True


def check_seals(record: Record, known: Sequence[versions.Version]) -> None:
    """The line that made a version champion must be as it was then. Raises BadInput."""
    if not record.accepted:
        return
    last = record.accepted[-1]
    version = next((one for one in known if one.run_id == last.body["run_id"]), None)
    if version and (done := version.tags.get(DONE)) is not None and done not in seals(record.accepted):
        problem = f"the line that made {version} of {record.model} champion is not as it was written"
        raise BadInput(RECORD, problem, ledger.TAMPERED)


def _exists(client: MlflowClient, run_id: str, known: Sequence[versions.Version]) -> bool:
    from mlflow.exceptions import MlflowException

    if any(one.run_id == run_id for one in known):
        return True
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _copy(run_id: str, entries: list[Entry], ws: Workspace) -> None:
    """Bring promotions.jsonl up to date; a copy of another registry's record, or what was adopted, is kept beside it.

    Raises BadInput if it has a line that the registry's record has otherwise or not at all.
    """
    path = ws.path(RECORD)
    here = ledger.read(path)
    agree = sum(one.sha256 == other.sha256 for one, other in zip(here, entries, strict=False))
    if agree < len(here):
        records = {one.body["record"] for one in here if "record" in one.body}
        if run_id in records:
            problem = f"is not as the registry's record has it (MLflow run {run_id}): one of the two has been altered"
            raise BadInput(f"{path}: line {agree + 1}", problem, "restore the one that is wrong from a backup")
        path.replace(path.with_name(f"promotions-{here[-1].sha256[:8]}.jsonl"))
    if agree < len(entries) or agree < len(here):
        write_atomic(path, "".join(one.line + "\n" for one in entries))
