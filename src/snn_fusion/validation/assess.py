"""From the outcomes of all checks to a verdict: which recordings are set aside, and whether the run may go on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snn_fusion.config import ImuChannel
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense
from snn_fusion.validation.checks import Outcome
from snn_fusion.validation.drift import Drift, Profile, Values, bins_of
from snn_fusion.validation.plausible import LabelTest, Offset
from snn_fusion.validation.tables import Measurements, Record

SHOWN = 5  # examples of one broken check in a message


@dataclass(frozen=True)
class Bad:
    """A recording set aside. `file` is relative to the workspace's recordings/.

    One that import had set aside already has no row in the manifest: its `id` and `sense` are ''.
    """

    id: str
    source: str
    sense: str
    file: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Assessment:
    """All that a validation found out. `problems` stop the run, `warnings` do not."""

    measurements: Measurements
    labels: Mapping[Sense, Sequence[Record]]
    outcomes: Sequence[Outcome]
    quarantined: Sequence[Bad]
    drifts: Sequence[Drift]
    problems: Sequence[str]
    joined: Mapping[str, int]
    notes: Sequence[str] = ()
    label_tests: Sequence[LabelTest] = ()
    offsets: Sequence[Offset] = ()

    @property
    def warnings(self) -> list[str]:
        return [
            *self.notes,
            *(str(test) for test in self.label_tests if test.doubtful or test.exchanged),
            *(str(offset) for offset in self.offsets if offset.apart),
            *(str(drift) for drift in self.drifts if drift.drifted),
        ]

    @property
    def recordings(self) -> dict[str, dict[str, int]]:
        """For each sense: recordings looked at, set aside, and left in each split."""
        bad = {one.id for one in self.quarantined}
        out = {}
        for sense, records in self.measurements.items():
            left = Counter(str(r["split"]) for r in records if r["id"] not in bad)
            out[str(sense)] = {
                "checked": len(records),
                "quarantined": len(records) - left.total(),
                "train": left["train"],
                "test": left["test"],
            }
        return out


def find_bad(measurements: Measurements, outcomes: Sequence[Outcome]) -> list[Bad]:
    """Each recording of a sense that broke a check of its sense, with all its reasons."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome in outcomes:
        for name, reason in outcome.reasons:
            reasons[outcome.suite, name].append(reason)
    return [
        Bad(str(record["id"]), str(record["source"]), sense, str(record["file"]), tuple(why))
        for sense, records in measurements.items()
        for record in records
        if (why := reasons.get((sense, str(record["id"]))))
    ]


def bad_at_import(quarantine: Sequence[Mapping[str, str]]) -> list[Bad]:
    """What import set aside (recordings/quarantine.json)."""
    return [
        Bad("", one["source"], "", f"{one['source']}/{one['path']}", (f"unreadable: {one['reason']}",))
        for one in quarantine
    ]


def too_many_bad(rows: Sequence[Row], bad: Sequence[Bad], limit: float) -> list[str]:
    """A problem for each source of which more than the share `limit` is bad, with its commonest reasons.

    Recordings that import had set aside count.
    """
    problems = []
    for source, known in sorted(Counter(row.source for row in rows).items()):
        of = [one for one in bad if one.source == source]
        early = sum(not one.id for one in of)
        n, total = early + len({one.id for one in of if one.id}), early + known
        if n <= limit * total:
            continue
        kinds = Counter(reason.split(":")[0] for one in of for reason in one.reasons)
        worst = ", ".join(f"{kind} ({times})" for kind, times in kinds.most_common(3))
        problems.append(
            f"{n / total:.1%} of the recordings of {source} are bad ({n} of {total}), allowed {limit:.1%} "
            f"(validation.max_bad_share): {worst}; e.g. {of[0].file}: {of[0].reasons[0]}"
        )
    return problems


def data_set_problems(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each row of the manifest, subject or label that broke a check of the data set."""
    problems = []
    for outcome in outcomes:
        problems += [f"{outcome.suite}: {name}: {reason}" for name, reason in outcome.reasons[:SHOWN]]
        if len(outcome.failed) > SHOWN:
            problems.append(f"{outcome.suite}: {outcome.check.says}: and {len(outcome.failed) - SHOWN} more")
    return problems


def good_rows(rows: Sequence[Row], bad: Sequence[Bad]) -> list[Row]:
    """Rows none of whose senses is bad."""
    names = {one.id for one in bad}
    return [row for row in rows if row.id not in names]


def tracked(sense: Sense, channels: Sequence[ImuChannel]) -> list[str]:
    """The measurements of a sense whose drift is watched. Channels without a unit are switches or ratios."""
    if sense == "imu":
        return ["duration_s", *(f"rms_{c.name}" for c in channels if c.unit != "1")]
    return {"audio": ["duration_s", "rms"], "events": ["rate_hz", "busiest_pixel_share"]}[sense]


def tracked_values(
    measurements: Measurements, names: set[str], split: str, channels: Sequence[ImuChannel]
) -> dict[str, dict[str, Values]]:
    """Tracked measurements (sense, measurement: (n,)) of the recordings `names` of a split."""
    return {
        sense: {
            column: np.array(
                [r.get(column, np.nan) for r in records if r["id"] in names and r["split"] == split], np.float64
            )
            for column in tracked(sense, channels)
        }
        for sense, records in measurements.items()
    }


def profile_of(values: Mapping[str, Mapping[str, Values]]) -> Profile:
    return {sense: {name: bins_of(column) for name, column in of.items()} for sense, of in values.items()}
