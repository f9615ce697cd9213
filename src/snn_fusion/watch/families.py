"""Metric families of the pipeline; all names begin with `snn_fusion_pipeline_`."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

PREFIX = "snn_fusion_pipeline_"
Values = Mapping[tuple[str, ...], float]


def gauge(name: str, text: str, value: float | Values, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    """A gauge with one value, or one for each combination of labels."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, one in value.items() if isinstance(value, Mapping) else [((), value)]:
        family.add_metric(key, float(one))
    return family


def counter(name: str, text: str, values: Values, labels: tuple[str, ...]) -> CounterMetricFamily:
    """A counter that is kept elsewhere and only read here."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, one in values.items():
        family.add_metric(key, float(one))
    return family
