"""What validation leaves for machines: validation.json and quarantine.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_fusion.validation.assess import Assessment, Bad
from snn_fusion.validation.checks import Outcome
from snn_fusion.validation.drift import Drift
from snn_fusion.validation.used import used_summary
from snn_fusion.workspace import write_atomic


def write_results(folder: Path, found: Assessment) -> None:
    """Write validation.json (keys: docs/validation.md) and quarantine.csv (id, source, sense, file, reasons)."""
    plain = {
        "schema": 1,
        "success": not found.problems,
        "recordings": found.recordings,
        "joined": dict(found.joined),
        "used": used_summary(found.measurements),
        "problems": list(found.problems),
        "warnings": found.warnings,
        "expectations": [_outcome(o) for o in found.outcomes],
        "drift": [_drift(d) for d in found.drifts],
        "quarantined": len(found.quarantined),
    }
    write_atomic(folder / "validation.json", json.dumps(plain, indent=1))
    write_atomic(folder / "quarantine.csv", _quarantine(found.quarantined))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "suite": outcome.suite,
        "says": outcome.check.says,
        "column": outcome.check.column,
        "expectation": outcome.expectation,
        "allowed": outcome.check.allowed,
        "observed": outcome.observed,
        "rows": outcome.rows,
        "success": outcome.success,
        "failed": [{"id": name, "reason": reason} for name, reason in outcome.reasons],
    }


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "sense": drift.sense,
        "measurement": drift.measurement,
        "compared": drift.compared,
        "reference": drift.reference,
        "psi": round(drift.psi, 4),
        "allowed": round(drift.limit, 4),
        "drifted": drift.drifted,
    }


def _quarantine(bad: Sequence[Bad]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "source", "sense", "file", "reasons"])
    writer.writerows([one.id, one.source, one.sense, one.file, "; ".join(one.reasons)] for one in bad)
    return text.getvalue()
