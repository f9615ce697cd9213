"""What a replica reports at /metrics, as the counts and drift that updates are judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from snn_fusion.deploy.rollout.judge import Counts, Drift

PREDICTIONS = ("/v1/predict", "/v1/predict/batch", "/v1/spikes")
TIMED = "/v1/predict"  # batches differ in size, so their times cannot be compared


@dataclass(frozen=True)
class Report:
    """Of one replica or several together: answers so far, and the drift of the spike rates now."""

    counts: Counts = field(default_factory=Counts)
    drift: Drift = field(default_factory=dict)


def read(text: str) -> Report:
    """Errors are answers of 500 and more, and refusals for want of time. Raises ValueError if it is no such text."""
    requests = errors = 0.0
    within: defaultdict[float, float] = defaultdict(float)
    index: dict[tuple[str, str], float] = {}
    limit: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels, value = sample.labels, sample.value
            key = (labels.get("view", ""), labels.get("measurement", ""))
            match sample.name:
                case "snn_fusion_requests_total" if labels["route"] in PREDICTIONS:
                    requests += value
                    errors += value * (int(labels["status"]) >= 500)
                case "snn_fusion_degraded_total" if labels["how"] == "refused":
                    errors += value
                case "snn_fusion_request_seconds_bucket" if labels["route"] == TIMED:
                    within[float(labels["le"])] += value
                case "snn_fusion_drift_psi" if labels["role"] == "champion":
                    index[key] = value
                case "snn_fusion_drift_limit" if labels["role"] == "champion":
                    limit[key] = value
    buckets = tuple((bound, int(count)) for bound, count in sorted(within.items()))
    drift = {key: (value, limit[key]) for key, value in index.items() if key in limit}
    return Report(Counts(int(requests), int(min(errors, requests)), buckets), drift)


def combined(reports: Iterable[Report]) -> Report:
    """Counts are summed; of each drift the replica's that is furthest above its limit."""
    counts, drift = Counts(), dict[tuple[str, str], tuple[float, float]]()
    for report in reports:
        counts += report.counts
        for key, (index, limit) in report.drift.items():
            if key not in drift or index - limit > drift[key][0] - drift[key][1]:
                drift[key] = (index, limit)
    return Report(counts, drift)
