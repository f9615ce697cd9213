"""state/rollouts.jsonl: one line for each update that changed something, with the verdict and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors

NAME = "rollouts.jsonl"
Verdict = Literal["done", "turned back", "failed"]  # failed: neither the new nor the old could be put in place


def append(
    state: Path,
    way: str,
    verdict: Verdict,
    why: str,
    old: str,
    new: str,
    seconds: float,
    findings: Sequence[Finding] = (),
) -> dict[str, Any]:
    """Add a line and return it. `old` and `new` name what answered until then and what was to."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "way": way,
        "from": old,
        "to": new,
        "verdict": verdict,
        "why": why,
        "seconds": round(seconds, 1),
        "findings": [finding.body() for finding in findings],
    }
    with disk_errors(state / NAME), (state / NAME).open("a") as out:
        out.write(json.dumps(entry) + "\n")
    return entry


def read(state: Path) -> list[dict[str, Any]]:
    """All updates, oldest first. Raises BadInput naming a line that cannot be read."""
    path = state / NAME
    entries = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            remedy = "remove the line: only this history reads it"
            raise BadInput(f"{path}: line {number}", f"not JSON: {error}", remedy) from None
    return entries
