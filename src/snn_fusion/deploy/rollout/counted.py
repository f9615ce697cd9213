"""What a replica says of itself at /metrics, as the counts that updates are judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from snn_fusion.deploy.rollout.judge import Counts, Rates

ROUTES = ("/v1/predict", "/v1/predict/batch", "/v1/spikes")
TIMED = "/v1/predict"  # the times of batches compare with nothing


@dataclass(frozen=True)
class Said:
    """Of one replica, or several together: answers, and how far the rates of spikes have drifted."""

    counts: Counts = field(default_factory=Counts)
    rates: Rates = field(default_factory=dict)


def read(text: str) -> Said:
    """Errors are answers of 500 and more, and refusals for want of time. Raises ValueError if it is no such text."""
    requests = errors = 0.0
    within: defaultdict[float, float] = defaultdict(float)
    psi: dict[tuple[str, str], float] = {}
    limits: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.labels.get("view", ""), one.labels.get("measurement", ""))
            match one.name:
                case "snn_fusion_requests_total" if one.labels["route"] in ROUTES:
                    requests += one.value
                    errors += one.value * (int(one.labels["status"]) >= 500)
                case "snn_fusion_degraded_total" if one.labels["how"] == "refused":
                    errors += one.value
                case "snn_fusion_request_seconds_bucket" if one.labels["route"] == TIMED:
                    within[float(one.labels["le"])] += one.value
                case "snn_fusion_drift_psi" if one.labels["role"] == "champion":
                    psi[key] = one.value
                case "snn_fusion_drift_limit" if one.labels["role"] == "champion":
                    limits[key] = one.value
    buckets = tuple((bound, int(count)) for bound, count in sorted(within.items()))
    rates = {key: (value, limits[key]) for key, value in psi.items() if key in limits}
    return Said(Counts(int(requests), int(errors), buckets), rates)


def together(said: Iterable[Said]) -> Said:
    """The sum of counts; of rates the replica's that has drifted most beyond its limit."""
    counts, rates = Counts(), dict[tuple[str, str], tuple[float, float]]()
    for one in said:
        counts += one.counts
        for key, (psi, limit) in one.rates.items():
            if key not in rates or psi - limit > rates[key][0] - rates[key][1]:
                rates[key] = (psi, limit)
    return Said(counts, rates)
