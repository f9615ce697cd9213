"""Airflow's metrics: what it sends becomes what rules and dashboards ask for.

The statsd exporter is not a package of Debian's: what its mapping does is replayed here (segments between dots match
literally or `*`, the first of the mappings counts, tags become labels, timers become seconds).
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.monitoring import MONITORING, ground, queries, rules

AIRFLOW = {
    "AIRFLOW__METRICS__STATSD_ON": "True",
    "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
    "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
    "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
}
SENDS = """
from airflow._shared.observability.metrics import stats
from airflow.configuration import conf
from airflow.observability.metrics.stats_utils import get_stats_factory

legacy = conf.getboolean("metrics", "legacy_names_on")
stats.initialize(factory=get_stats_factory(), export_legacy_names=legacy)
stats.timing("dagrun.duration.failed", 1500, tags={"dag_id": "retrain", "run_type": "scheduled"})
stats.incr("scheduler_heartbeat", 1, 1)
stats.gauge("executor.running_tasks", 2, tags={"executor_class_name": "LocalExecutor"})
stats.incr("dag_processing.processes", tags={"file_path": "retrain.py", "action": "start"})
"""
MAPPINGS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "statsd.yml").read_text())["mappings"]


def mapped(line: str) -> tuple[str, dict[str, str], float] | None:
    """Name, labels and value of what the exporter makes of a line; None if it drops it."""
    place, _, rest = line.partition(":")
    name, *tags = place.split(",")
    value, kind = rest.split("|")[:2]
    labels = dict(tag.split("=", 1) for tag in tags)
    number = float(value) / (1000 if kind == "ms" else 1)
    for one in MAPPINGS:
        pattern = re.escape(one["match"]).replace(r"\*", r"([^.]*)")
        if found := re.fullmatch(pattern, name):
            if one.get("action") == "drop":
                return None
            given = {k: re.sub(r"\$(\d)", lambda m: found[int(m[1])], v) for k, v in one.get("labels", {}).items()}
            return one["name"], labels | given, number
    return re.sub(r"[^a-zA-Z0-9_]", "_", name), labels, number


def test_a_line_becomes_a_metric_with_its_tags_as_labels(tmp_path: Path) -> None:
    if importlib.util.find_spec("statsd") is None:
        pytest.skip("statsd, the client that Airflow sends with, is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as received:
        received.bind(("127.0.0.1", 0))
        received.settimeout(5)
        port = received.getsockname()[1]
        environment = {
            **os.environ,
            **AIRFLOW,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__METRICS__STATSD_PORT": str(port),
        }
        subprocess.run([sys.executable, "-c", SENDS], env=environment, check=True, capture_output=True, timeout=120)
        lines = []
        while not lines or "dag_processing.processes" not in lines[-1]:
            lines.append(received.recv(4096).decode())
    found = [mapped(line) for line in lines]
    labels = {"dag_id": "retrain", "run_type": "scheduled", "state": "failed"}
    assert ("airflow_dagrun_duration_seconds", labels, 1.5) in found
    assert ("airflow_scheduler_heartbeat", {}, 1) in found
    assert ("airflow_executor_running_tasks", {"executor_class_name": "LocalExecutor"}, 2) in found
    assert found[-1] is None


def test_every_metric_of_airflow_that_is_asked_for_is_one_that_airflow_has() -> None:
    package = importlib.util.find_spec("airflow")
    assert package is not None and package.origin is not None
    template = Path(package.origin).parent / "_shared/observability/metrics/metrics_template.yaml"
    sent = yaml.safe_load(template.read_text())["metrics"]
    kinds = {"timer": "ms", "counter": "c", "gauge": "g"}
    made: set[str] = set()
    for one in sent:
        if found := mapped(f"airflow.{one['name']}:1|{kinds[one['type']]}"):
            ends = ("_count", "_sum") if one["type"] == "timer" else ("",)
            made |= {found[0] + end for end in ends}
    asked = {name for one in (*rules(), *queries()) for name in ground(one.expr) if name.startswith("airflow_")}
    assert asked and asked <= made, asked - made
