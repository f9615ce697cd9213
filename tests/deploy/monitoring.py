"""The monitoring configuration as the tests look at it: rules, their unit tests, dashboards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "docker" / "monitoring"
DASHBOARDS = MONITORING / "grafana" / "dashboards"
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}


def tool(name: str) -> str:
    """The path of a program, else the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return found


@dataclass(frozen=True)
class Rule:
    """An alert, or a recorded series (`severity` is then empty)."""

    name: str
    expr: str
    labels: tuple[tuple[str, str], ...]
    annotations: dict[str, str]

    @property
    def severity(self) -> str:
        return dict(self.labels).get("severity", "")

    def __str__(self) -> str:
        return " ".join([self.name, *(value for _, value in self.labels)])


@cache
def rules() -> list[Rule]:
    found = []
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for one in group["rules"]:
                labels = tuple(sorted(one.get("labels", {}).items()))
                name = one.get("alert") or one["record"]
                found.append(Rule(name, one["expr"], labels, one.get("annotations", {})))
    return found


def alerts() -> list[Rule]:
    return [one for one in rules() if one.annotations]


def metrics(expr: str) -> set[str]:
    """The names of all metrics that an expression selects."""
    promql = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.add(node.name or re.search(r'__name__="([^"]+)"', str(node.matchers))[1])  # type: ignore[index]

    promql.walk(promql.parse(expr), pre_visit=visit)
    return found


def ground(expr: str) -> set[str]:
    """The same, with what recorded series are made of in their place."""
    recorded = {one.name: one.expr for one in rules() if not one.annotations}
    found, waiting = set(), [expr]
    seen: set[str] = set()
    while waiting:
        for name in metrics(waiting.pop()) - seen:
            seen.add(name)
            if name in recorded:
                waiting.append(recorded[name])
            else:
                found.add(name)
    return found


@dataclass(frozen=True)
class Query:
    """What a panel of a dashboard asks."""

    dashboard: str
    panel: str
    ref: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} ({self.ref})"


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All but the rows, also those that are folded into a row."""
    for one in dashboard["panels"]:
        if one["type"] == "row":
            yield from one.get("panels", [])
        else:
            yield one


def queries() -> list[Query]:
    """Every query of every panel, with Grafana's variables filled in."""
    found = []
    for content in dashboards().values():
        for panel in panels(content):
            for target in panel["targets"]:
                expr = target["expr"]
                for name, value in VARIABLES.items():
                    expr = expr.replace(name, value)
                found.append(Query(content["title"], panel["title"], target["refId"], expr))
    return found


def empty_panels(url: str) -> list[Query]:
    """Those queries to which a Prometheus at `url` has no answer now. Raises httpx.HTTPError if it refuses one."""
    empty = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for one in queries():
            answer = client.get("/api/v1/query", params={"query": one.expr}).raise_for_status().json()
            if not any(sample["value"][1] != "NaN" for sample in answer["data"]["result"]):
                empty.append(one)
    return empty
