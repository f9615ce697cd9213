"""What tests of k8s/ share: the objects of a rendered file, their pods, and who may talk to whom."""

from __future__ import annotations

import importlib
import ipaddress
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
RENDERED = K8S / "snn-fusion.yaml"
KUBECTL = ROOT / ".venv-tools" / "bin" / "kubectl"
with_tools = pytest.mark.skipif(
    shutil.which(KUBECTL) is None, reason="needs .venv-tools, which `python scripts/tools.py` makes"
)
Object = dict[str, Any]


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    folder = str(ROOT / "scripts")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def objects(text: str) -> list[Object]:
    return [one for one in yaml.safe_load_all(text) if one]


def dev() -> list[Object]:
    return objects(RENDERED.read_text())


def values() -> Object:
    """Of Airflow's chart."""
    loaded: Object = yaml.safe_load((K8S / "airflow" / "values.yaml").read_text())
    return loaded


def task() -> Object:
    """The pod of a task of Airflow."""
    loaded: Object = yaml.safe_load(values()["podTemplate"])
    return loaded


def named(of: list[Object], kind: str, name: str) -> Object:
    (found,) = [one for one in of if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod(one: Object) -> Object | None:
    """The pod (metadata and spec) that an object makes, if it makes any."""
    match one["kind"]:
        case "Deployment" | "StatefulSet" | "Job":
            template: Object = one["spec"]["template"]
            return template
        case "CronJob":
            template = one["spec"]["jobTemplate"]["spec"]["template"]
            return template
        case "Pod":
            return one
    return None


def pods(of: list[Object]) -> dict[str, Object]:
    """Every pod, by the kind and name of what makes it."""
    return {f"{one['kind']}/{one['metadata']['name']}": made for one in of if (made := pod(one))}


def containers(of: Object) -> Iterator[Object]:
    yield from of["spec"].get("initContainers", [])
    yield from of["spec"]["containers"]


def may_talk(of: list[Object], source: Mapping[str, str], target: Mapping[str, str], port: int) -> bool:
    """Whether the network policies of one namespace let a pod with the labels `source` reach TCP `port` of `target`."""
    policies = [one["spec"] for one in of if one["kind"] == "NetworkPolicy"]
    return _allowed(policies, "Egress", source, target, port) and _allowed(policies, "Ingress", target, source, port)


def may_leave(of: list[Object], source: Mapping[str, str], address: str, port: int) -> bool:
    """Whether a pod with the labels `source` may open a connection to an address outside of the cluster."""
    rules = _rules([one["spec"] for one in of if one["kind"] == "NetworkPolicy"], "Egress", source)
    return any(
        _covers(peer["ipBlock"], address)
        for rule in rules
        for peer in rule.get("to", [])
        if "ipBlock" in peer and _has_port(rule, port)
    )


def _allowed(
    policies: list[Object], direction: str, own: Mapping[str, str], other: Mapping[str, str], port: int
) -> bool:
    peers = {"Egress": "to", "Ingress": "from"}[direction]
    return any(
        _matches(peer["podSelector"], other)
        for rule in _rules(policies, direction, own)
        for peer in rule.get(peers, [])
        if "podSelector" in peer and "namespaceSelector" not in peer and _has_port(rule, port)
    )


def _rules(policies: list[Object], direction: str, own: Mapping[str, str]) -> Iterator[Object]:
    """Of the policies that hold for a pod; a test sees to it that one holds for every pod, so all else is denied."""
    for spec in policies:
        if direction in spec["policyTypes"] and _matches(spec["podSelector"], own):
            yield from spec.get(direction.lower(), [])


def _has_port(rule: Object, port: int) -> bool:
    return any(one["port"] == port and one["protocol"] == "TCP" for one in rule["ports"])


def _covers(block: Object, address: str) -> bool:
    at = ipaddress.ip_address(address)
    return at in ipaddress.ip_network(block["cidr"]) and not any(
        at in ipaddress.ip_network(one) for one in block.get("except", [])
    )


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In", "the tests know no other operator"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True
