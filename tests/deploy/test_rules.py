"""Rules and alerts: each one is valid, tested both ways, of a known severity, and has a page that says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.monitoring import MONITORING, ROOT, Rule, alerts, ground, metrics, rules, tool

SERVICE = ROOT / "src" / "snn_fusion" / "serving" / "metrics.py"
WATCH = ROOT / "src" / "snn_fusion" / "watch"
# What rules and dashboards ask of the service, and it does not tell yet.
ALERT = re.compile(r'ALERTS\{alertname="(\w+)",alertstate="firing"')
LABELS = re.compile(r'(\w+)="([^"]*)"')
EXPECTED_LEAST = 35  # alerts; far fewer would mean that the files are not found


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_rules_and_configuration(tmp_path: Path) -> None:
    run(tool("promtool"), "check", "rules", *map(str, (MONITORING / "rules").glob("*.yml")))
    token = tmp_path / "token"
    token.write_text("a token")
    config = (MONITORING / "prometheus.yml").read_text().replace("/run/secrets/metrics_token", str(token))
    copy = tmp_path / "prometheus.yml"
    copy.write_text(config.replace("rules/*.yml", str(MONITORING / "rules" / "*.yml")))
    shutil.copytree(MONITORING / "targets", tmp_path / "targets")
    run(tool("promtool"), "check", "config", str(copy))


@pytest.mark.parametrize("path", sorted((MONITORING / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_do_as_their_unit_tests_say(path: Path) -> None:
    run(tool("promtool"), "test", "rules", str(path))


def unit_tests() -> list[tuple[str, dict[str, str] | None, set[str]]]:
    """(alert, the labels with which it fires, or None where it is silent, the metrics that it is tested on)."""
    found: list[tuple[str, dict[str, str] | None, set[str]]] = []
    for path in (MONITORING / "tests").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["tests"]:
            given = {re.split(r"[{ ]", one["series"])[0] for one in group["input_series"]}
            for test in group["promql_expr_test"]:
                if named := ALERT.match(test["expr"]):
                    samples: list[dict[str, Any]] = test["exp_samples"]
                    asked = dict(LABELS.findall(test["expr"]))
                    outcomes = [dict(LABELS.findall(one["labels"])) for one in samples] or [None]
                    found += [(named[1], one if one is None else asked | one, given) for one in outcomes]
    return found


TESTED = unit_tests()


@pytest.mark.parametrize("rule", alerts(), ids=str)
def test_every_alert_is_seen_to_fire_and_to_stay_silent_on_its_own_metrics(rule: Rule) -> None:
    own = ground(rule.expr)
    fires = [
        labels
        for name, labels, given in TESTED
        if name == rule.name and labels and dict(rule.labels).items() <= labels.items() and own & given
    ]
    silent = [given for name, labels, given in TESTED if name == rule.name and labels is None and own & given]
    assert fires, f"no unit test in which {rule} fires"
    assert silent, f"no unit test in which {rule} stays silent"


@pytest.mark.parametrize("rule", alerts(), ids=str)
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: Rule) -> None:
    assert rule.severity in ("critical", "warning", "info")
    assert rule.annotations.keys() == {"summary", "description", "runbook_url"}
    page = ROOT / rule.annotations["runbook_url"]
    assert page.parent == ROOT / "docs" / "runbooks" and page.is_file(), page
    text = page.read_text()
    assert f"`{rule.name}`" in text, f"{page.name} does not name {rule.name}"
    for part in ("## What it means", "## How to look", "## What to do"):
        assert part in text, f"{page.name} has no part {part[3:]}"
    assert "    " in text.partition("## How to look")[2].partition("##")[0], f"{page.name} shows no command"


def test_every_page_belongs_to_an_alert_and_is_listed() -> None:
    named = {Path(one.annotations["runbook_url"]).name for one in alerts()}
    folder = ROOT / "docs" / "runbooks"
    assert {page.name for page in folder.glob("*.md")} == named | {"README.md"}
    listed = set(re.findall(r"\((\w+\.md)\)", (folder / "README.md").read_text()))
    assert listed == named
    assert len(alerts()) >= EXPECTED_LEAST


def check_known(asked: set[str]) -> None:
    """Each of these metrics that is ours must be one of the service, of the exporter or of a recording rule."""
    recorded = {one.name for one in rules()}
    unknown = {name for name in asked if name.startswith("snn_fusion") and name not in recorded and not known(name)}
    assert not unknown


def known(metric: str) -> bool:
    """Whether the service or the exporter has a metric of this name, by their source."""
    name = metric.removeprefix("snn_fusion_")
    of_watch = name.startswith("pipeline_")
    source = "".join(path.read_text() for path in WATCH.glob("*.py")) if of_watch else SERVICE.read_text()
    names = {name.removeprefix("pipeline_").removesuffix(end) for end in ("", "_total", "_bucket", "_sum", "_count")}
    return any(f'"{one}"' in source for one in names)


@pytest.mark.parametrize("rule", rules(), ids=str)
def test_no_rule_asks_for_a_metric_of_ours_that_there_is_not(rule: Rule) -> None:
    check_known(metrics(rule.expr))


def test_limits_that_rules_take_for_granted_are_those_of_the_configuration() -> None:
    nginx, redis = ROOT / "docker" / "nginx" / "nginx.conf", ROOT / "docker" / "redis" / "redis.conf"
    assert "worker_connections 4096;" in nginx.read_text()
    assert "maxclients" not in redis.read_text()  # Redis' own limit is 10,000
    text = (MONITORING / "rules" / "infrastructure.yml").read_text()
    assert "nginx_connections_active / 4096" in text and "redis_connected_clients / 10000" in text
