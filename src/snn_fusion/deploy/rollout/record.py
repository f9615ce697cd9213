"""state/rollouts.jsonl: one line for each update that changed something, with what was decided and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors

NAME = "rollouts.jsonl"
Verdict = Literal["done", "turned back", "failed"]  # failed: neither the new nor the old could be put in place


def append(
    state: Path, way: str, verdict: Verdict, why: str, before: object, after: object, seconds: float, findings: Any
) -> dict[str, Any]:
    """Add a line; returns it. `before` and `after` are what answered until then and what was to."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "way": way,
        "from": before,
        "to": after,
        "verdict": verdict,
        "why": why,
        "seconds": round(seconds, 1),
        "findings": findings,
    }
    with disk_errors(state / NAME), (state / NAME).open("a") as out:
        out.write(json.dumps(entry) + "\n")
    return entry


def read(state: Path) -> list[dict[str, Any]]:
    """All updates, oldest first. Raises BadInput naming a line that cannot be read."""
    found, path = [], state / NAME
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            remedy = "remove the line: nothing depends on it but this history"
            raise BadInput(f"{path}: line {number}", f"not JSON: {error}", remedy) from None
    return found
