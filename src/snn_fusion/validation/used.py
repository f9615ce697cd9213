"""How much of each recording the network will see: measured, and said where that is not nearly all of it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.window import Window
from snn_fusion.validation.measure import Measurement

NOTICEABLE = 0.05  # of what went on in the recordings of a source, or of its recordings
MUCH = 0.1  # of what went on in a recording
HOLDS = 99  # per cent of the recordings that a proposed number of steps holds
ROUND = 10  # to which it is rounded up
WHAT: dict[Sense, str] = {"audio": "energy", "events": "events", "imu": "movement"}
Record = Mapping[str, Measurement]


def measure_used(signals: Mapping[Sense, Signal], sense: Sense, params: EncodingParams) -> dict[str, Measurement]:
    """What of `sense` lies in the window that all senses of the recording share; see `measure_together`."""
    return measure_together(signals, params).get(sense, {})


def measure_together(signals: Mapping[Sense, Signal], params: EncodingParams) -> dict[Sense, dict[str, Measurement]]:
    """What of each sense lies in the window that all senses of the recording share.

    `used_share` of its energy, events or movement (NaN: there was none), `needed_steps` from the window's beginning on
    that would hold 99 % of it, `onset`: how the beginning was found, `begins_s`: where it is.
    """
    window = Window(signals, params, only=())
    window.push(signals)
    window.close()
    return {
        sense: {
            "used_share": np.nan if used.share is None else used.share,
            "needed_steps": math.ceil(1000 * used.needed_s / params.step_ms),
            "onset": window.found,
            "begins_s": used.from_s,
        }
        for sense, used in window.used().items()
    }


def used_notes(measurements: Mapping[Sense, Sequence[Record]], params: EncodingParams) -> list[str]:
    """A warning for each source and sense of which a noticeable share lies outside the window, or has no onset."""
    notes = []
    for sense, records in measurements.items():
        for source, of in sorted(_by_source(records).items()):
            notes += _outside(sense, source, of, params) + _without_onset(sense, source, of)
    return notes


def used_summary(measurements: Mapping[Sense, Sequence[Record]]) -> dict[str, dict[str, Any]]:
    """For each sense: the mean share that is used, recordings that lose more than a tenth, and onsets by kind."""
    found: dict[str, dict[str, Any]] = {}
    for sense, records in measurements.items():
        share = _shares(records)
        found[sense] = {
            "mean_share": round(float(share.mean()), 4) if len(share) else None,
            "lose_more_than_a_tenth": int((share < 1 - MUCH).sum()),
            "onset": dict(sorted(Counter(str(r["onset"]) for r in records if r.get("onset")).items())),
        }
    return found


def _by_source(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[str(record["source"])].append(record)
    return groups


def _shares(records: Sequence[Record]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.array([r.get("used_share", np.nan) for r in records], np.float64)
    return values[~np.isnan(values)]


def _outside(sense: Sense, source: str, records: Sequence[Record], params: EncodingParams) -> list[str]:
    share = _shares(records)
    if not len(share):
        return []
    lost, much = 1 - float(share.mean()), int((share < 1 - MUCH).sum())
    if lost <= NOTICEABLE and much <= NOTICEABLE * len(share):
        return []
    needed = [n for r in records if isinstance(n := r.get("needed_steps"), int)]
    steps = ROUND * math.ceil(float(np.percentile(needed, HOLDS)) / ROUND)
    length = params.steps * params.step_ms / 1000
    return [
        f"{sense} of {source}: {lost:.0%} of the {WHAT[sense]} lies outside the window of {length:g} s that the "
        f"network sees; {much:,} of {len(share):,} recordings lose more than {MUCH:.0%} of theirs. encoding.steps: "
        f"{steps} (now {params.steps}) would hold {HOLDS} % of them"
    ]


def _without_onset(sense: Sense, source: str, records: Sequence[Record]) -> list[str]:
    count = sum(record.get("onset") == "not found" for record in records)
    if count <= NOTICEABLE * len(records):
        return []
    return [
        f"{sense} of {source}: no onset was found in {count:,} of {len(records):,} recordings; they are seen from "
        f"their first sample on (encoding.onset)"
    ]
