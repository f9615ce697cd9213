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
from snn_fusion.validation.plausible import LabelTest, Offset
from snn_fusion.validation.tables import Measurements
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
        "labels": [_label_test(t) for t in found.label_tests],
        "offsets": [_offset(o) for o in found.offsets],
        "quarantined": len(found.quarantined),
        "remarks": _remarks(found.measurements),
    }
    write_atomic(folder / "validation.json", json.dumps(plain, indent=1))
    write_atomic(folder / "quarantine.csv", _quarantine(found.quarantined))


def _remarks(measurements: Measurements) -> list[dict[str, Any]]:
    """Every recording that was read although its file was not as it should be, and how."""
    return [
        {"id": record["id"], "sense": sense, "file": record["file"], "remarks": str(record["remarks"]).split("; ")}
        for sense, records in measurements.items()
        for record in records
        if record.get("remarks")
    ]


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


def _label_test(test: LabelTest) -> dict[str, Any]:
    return {
        "sense": test.sense,
        "source": test.source,
        "split": test.split,
        "learnt": test.learnt,
        "recordings": test.n,
        "classes": test.classes,
        "accuracy": round(test.accuracy, 4),
        "chance": round(test.chance, 4),
        "doubtful_up_to": round(test.limit, 4),
        "doubtful": test.doubtful,
        "exchanged": [list(pair) for pair in test.exchanged],
    }


def _offset(offset: Offset) -> dict[str, Any]:
    return {
        "source": offset.source,
        "earlier": offset.earlier,
        "later": offset.later,
        "recordings": offset.n,
        "median_s": round(offset.median, 4),
        "spread_s": round(offset.spread, 4),
        "typical_s": round(offset.typical, 4),
        "allowed_s": offset.allowed,
        "apart": offset.apart,
    }


def _quarantine(bad: Sequence[Bad]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "source", "sense", "file", "reasons"])
    writer.writerows([one.id, one.source, one.sense, one.file, "; ".join(one.reasons)] for one in bad)
    return text.getvalue()
