"""What is kept: the record of promotions, backups and restore drills, the disk."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import Metric

from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger
from snn_fusion.registry.record import RECORD
from snn_fusion.watch.families import Values, counter, gauge
from snn_fusion.workspace import Workspace

STATE = ("backups", "state.json")
OUTCOMES = ("promoted", "refused", "rolled_back")


def decision_metrics(ws: Workspace, model: str) -> Iterator[Metric]:
    """The workspace's copy of the record of promotions, of this model.

    Raises BadInput naming the line if it was altered, and tells nothing of it then but that.
    """
    try:
        entries = [one.body for one in ledger.read(ws.path(RECORD)) if one.body["model"] == model]
    except BadInput:
        yield gauge("promotion_record_intact", INTACT, 0)
        raise
    yield gauge("promotion_record_intact", INTACT, 1)
    counted = Counter(dict.fromkeys(OUTCOMES, 0))
    counted.update(outcome(body) for body in entries)
    text = "Decisions about versions, by what became of them"
    yield counter("decisions", text, {(name,): counted[name] for name in OUTCOMES}, ("outcome",))
    last: Values = {(outcome(body),): seconds(body["time"]) for body in entries}
    yield gauge("last_decision_timestamp_seconds", "When the last of these decisions was made", last, ("outcome",))
    if reigns := [body for body in entries if body["promoted"]]:
        text = "Since when the champion by the record is champion"
        yield gauge("champion_since_timestamp_seconds", text, seconds(reigns[-1]["time"]))


INTACT = "1: the chain of the workspace's copy of the record of promotions is whole"


def outcome(decision: Mapping[str, Any]) -> str:
    if decision.get("rolled_back"):
        return "rolled_back"
    return "promoted" if decision["promoted"] else "refused"


def backup_metrics(ws: Workspace) -> Iterator[Metric]:
    """backups/state.json. Raises OSError, ValueError or KeyError if it cannot be read."""
    state = json.loads(ws.path(*STATE).read_text())
    if backup := state.get("backup"):
        yield gauge("backup_timestamp_seconds", "When the last backup ended", seconds(backup["at"]))
        yield gauge("backup_ok", "1: it was made", bool(backup["ok"]))
        yield gauge("backup_verified", "1: it was read back and found whole", bool(backup["verified"]))
        yield gauge("backup_bytes", "Bytes that it holds", float(backup["bytes"]))
    if snapshot := state.get("snapshot"):
        yield gauge(
            "snapshot_timestamp_seconds", "When the last snapshot between backups ended", seconds(snapshot["at"])
        )
        yield gauge("snapshot_ok", "1: it was made", bool(snapshot["ok"]))
    if drill := state.get("drill"):
        yield gauge("drill_timestamp_seconds", "When the last restore drill ended", seconds(drill["at"]))
        yield gauge("drill_ok", "1: what was restored is what was backed up", bool(drill["ok"]))
        yield gauge("drill_duration_seconds", "How long it took to restore", float(drill["seconds"]))


def disk_metrics(ws: Workspace) -> Iterator[Metric]:
    """Of the file system that the workspace lies on."""
    disk = shutil.disk_usage(ws.root)
    yield gauge("disk_size_bytes", "Size of the workspace's file system", disk.total)
    yield gauge("disk_free_bytes", "What is free for the pipeline on it", disk.free)


def seconds(iso: str) -> float:
    """Seconds since 1970. Raises ValueError if it is no time or has no time zone."""
    found = datetime.fromisoformat(iso)
    if found.tzinfo is None:
        raise ValueError(f"{iso} has no time zone")
    return found.timestamp()
