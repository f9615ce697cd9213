"""Dashboards: four, made by the generator, and each query is one that Prometheus understands, of metrics there are."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tests.deploy.monitoring import MONITORING, Query, dashboards, metrics, panels, queries
from tests.deploy.test_rules import check_known


def test_the_files_are_what_the_generator_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk is not installed")
    command = [sys.executable, str(MONITORING / "grafana" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_there_are_four_dashboards_on_the_provisioned_data_source() -> None:
    found = dashboards()
    titles = {"System Overview", "Application Performance", "SNN Processing", "Business Metrics"}
    assert {one["title"] for one in found.values()} == titles
    assert len({one["uid"] for one in found.values()}) == 4
    sources = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    known_uids = {one["uid"] for one in sources}
    for content in found.values():
        for panel in panels(content):
            assert panel["targets"] and panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] in known_uids
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24


def test_no_two_panels_of_a_dashboard_lie_on_each_other() -> None:
    for title, content in dashboards().items():
        taken: set[tuple[int, int]] = set()
        for panel in panels(content):
            at = panel["gridPos"]
            places = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not places & taken, f"{title}: {panel['title']}"
            taken |= places


@pytest.mark.parametrize("query", queries(), ids=str)
def test_every_query_is_one_and_asks_for_what_there_is(query: Query) -> None:
    asked = metrics(query.expr)  # parses it
    assert asked
    check_known(asked)
