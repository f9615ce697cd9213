"""What the stage `validate` does once it is known that there is something to do; importing it takes seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion import log_lines
from snn_fusion.config import Params
from snn_fusion.data.dataset import SYNTHETIC, apply_split, at_most, join_by_label
from snn_fusion.data.imported import SNAPSHOT, Imported, write_files
from snn_fusion.data.manifest import SPLITS, Row, write_manifest
from snn_fusion.data.recording import Sense
from snn_fusion.data.summary import kinds_of_remarks
from snn_fusion.errors import BadInput
from snn_fusion.validation.assess import (
    Assessment,
    bad_at_import,
    data_set_problems,
    find_bad,
    good_rows,
    profile_of,
    too_many_bad,
    tracked_values,
)
from snn_fusion.validation.checks import (
    LABEL_CHECKS,
    SUBJECT_CHECKS,
    Outcome,
    balance_checks,
    manifest_checks,
    sense_checks,
)
from snn_fusion.validation.drift import Drift, compare, read_profile, write_profile
from snn_fusion.validation.plausible import label_tests, offsets
from snn_fusion.validation.report import html_report
from snn_fusion.validation.results import write_results
from snn_fusion.validation.tables import (
    Measurements,
    Record,
    balance_records,
    disjoint_senses,
    label_records,
    manifest_records,
    measure_rows,
    subject_records,
)
from snn_fusion.validation.used import used_notes, used_summary
from snn_fusion.workspace import Workspace, remove_tree, write_atomic

if TYPE_CHECKING:
    from snn_fusion.validation.expectations import Validator

FAILED = "validated-failed"  # the report of the last run that was stopped
SYNTHETIC_NOTE = "synthetic recordings: numbers from this run say nothing about real sensors"


def check_recordings(params: Params, ws: Workspace, imported: Imported, reference: Path, out: Path) -> dict[str, Any]:
    """Check, set aside, join; all files of validated/ into `out`. `reference`: the champion's training profile.

    Raises BadInput as `validate` does.
    """
    write_files(out / SNAPSHOT, imported, {})
    rows = apply_split(imported.rows, params.data.split)
    rows = at_most(rows, params.data.most_per_class, params.seed)
    measurements, validator = measure_rows(ws.path("recordings"), rows, params, meanwhile=_validator)

    limits = sense_checks(params)
    outcomes = [o for sense in measurements for o in validator.run(sense, limits[sense], measurements[sense])]
    early = bad_at_import(imported.quarantine)
    bad = [*early, *find_bad(measurements, outcomes)]
    good = good_rows(rows, bad)
    labels = {sense: label_records(good, sense) for sense in measurements}
    of_data_set = _check_data_set(validator, rows, labels, params)
    problems = too_many_bad(rows, bad, params.validation.max_bad_share) + data_set_problems(of_data_set)
    joined = [] if problems else _join(good, params.seed)
    found = Assessment(
        measurements=measurements,
        labels=labels,
        outcomes=[*outcomes, *of_data_set],
        quarantined=bad,
        drifts=_drifts(params, reference, out, measurements, good),
        problems=problems,
        label_tests=[] if problems else label_tests(ws.path("recordings"), good),
        offsets=[] if problems else offsets(ws.path("recordings"), good, params.validation.max_offset_s),
        notes=[
            *([SYNTHETIC_NOTE] if any(row.source == SYNTHETIC for row in rows) else []),
            *_remarks(measurements),
            *used_notes(measurements, params.encoding),
        ],
        joined={split: sum(row.split == split for row in joined) for split in SPLITS} if joined else {},
    )
    write_results(out, found)
    write_atomic(out / "validation.html", html_report(found, params.encoding.imu.channels))
    if problems:
        _stop(ws, out, problems)
    write_manifest(out / "recordings.parquet", good)
    write_manifest(out / "joined.parquet", joined)
    remove_tree(ws.path(FAILED))
    _warn(found.warnings)
    return {
        "recordings": {sense: of["train"] + of["test"] for sense, of in found.recordings.items()},
        "quarantined": len(bad),
        "joined": dict(found.joined),
        "used": {sense: one["mean_share"] for sense, one in used_summary(measurements).items()},
        "warnings": found.warnings,
        "report": str(Path("validated", "validation.html")),
    }


def _remarks(measurements: Measurements) -> list[str]:
    """A warning for each kind of remark that the readers made."""
    records = [record for of in measurements.values() for record in of if record.get("remarks")]
    return kinds_of_remarks((str(record["file"]), str(record["remarks"]).split("; ")) for record in records)


def _validator() -> Validator:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    from snn_fusion.validation.expectations import Validator  # takes seconds

    return Validator()


def _check_data_set(
    validator: Validator, rows: Sequence[Row], labels: dict[Sense, list[Record]], params: Params
) -> list[Outcome]:
    """Ids, labels, splits and subjects of all rows; labels and balance of those that are left (`labels`)."""
    outcomes = validator.run("manifest", manifest_checks(), manifest_records(rows))
    for sense in disjoint_senses(rows, params):
        outcomes += validator.run(f"{sense} subjects", SUBJECT_CHECKS, subject_records(rows, sense))
    for sense, records in labels.items():
        outcomes += validator.run(f"{sense} labels", LABEL_CHECKS, records)
        outcomes += validator.run(f"{sense} balance", balance_checks(params.validation), balance_records(records))
    return outcomes


def _join(rows: Sequence[Row], seed: int) -> list[Row]:
    """Three-sense rows. No test recording is used twice: test rows are independent of each other."""
    senses = {sense for row in rows for sense in row.senses}
    if len(senses) == 1:
        return list(rows)
    train = join_by_label([row for row in rows if row.split == "train"], seed, reuse=True)
    return train + join_by_label([row for row in rows if row.split == "test"], seed, reuse=False)


def _drifts(params: Params, reference: Path, out: Path, measurements: Measurements, good: Sequence[Row]) -> list[Drift]:
    """Test against training, and training against the champion's if there is one. Writes profile.json."""
    names, channels, limit = {row.id for row in good}, params.encoding.imu.channels, params.validation.max_drift
    train = tracked_values(measurements, names, "train", channels)
    profile = profile_of(train)
    write_profile(out / "profile.json", profile)
    drifts = compare(profile, tracked_values(measurements, names, "test", channels), limit, "test", "training")
    if reference.exists():
        drifts += compare(read_profile(reference), train, limit, "training", "the champion's training")
    return drifts


def _warn(warnings: Sequence[str]) -> None:
    console = log_lines.console()
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _stop(ws: Workspace, out: Path, problems: Sequence[str]) -> None:
    """Leave the report where it can be read and say why the run does not go on."""
    kept = ws.path(FAILED)
    remove_tree(kept)
    out.rename(kept)
    out.mkdir()  # what the workspace clears away
    raise BadInput(
        ws.path("recordings", "manifest.parquet"),
        "the recordings are refused\n" + "\n".join(f"  {problem}" for problem in problems) + "\n",
        f"report: {kept / 'validation.html'}, list: {kept / 'quarantine.csv'}; earlier results are untouched",
    )
