"""Who may talk to whom: the network policies, evaluated as Kubernetes does, and what the Ingress lets in."""

from __future__ import annotations

import pytest
from starlette.routing import Route, WebSocketRoute

from tests.deploy.k8s_objects import K8S, Object, dev, may_leave, may_talk, named, objects, pods, task, values

DEV = dev()
LABELS = {name.split("/")[1]: pod["metadata"]["labels"] for name, pod in pods(DEV).items()}
LABELS["task"] = task()["metadata"]["labels"]
# Of the pods that Airflow's chart makes.
LABELS |= {
    name: {"tier": "airflow", "component": name, "release": "airflow"}
    for name in ("scheduler", "api-server", "dag-processor", "triggerer", "statsd", "run-airflow-migrations")
}
PORTS = {"app": 8080, "reviewer": 8080, "redis": 6379, "mlflow": 5000, "postgres": 5432, "exporter": 9464}
PORTS |= {"api-server": 8080, "triggerer": 8794}
OPEN = {
    "app": {"redis", "mlflow"},
    "reviewer": {"redis", "mlflow"},
    "exporter": {"mlflow"},
    "mlflow": {"postgres"},
    "backup": {"mlflow", "postgres"},
    "backup-quick": {"mlflow", "postgres"},
    "backup-drill": {"mlflow", "postgres"},
    "retrain": {"mlflow"},
    "task": {"mlflow", "postgres", "api-server"},
    "scheduler": {"postgres", "api-server"},
    "api-server": {"postgres", "triggerer"},
    "dag-processor": {"postgres", "api-server"},
    "triggerer": {"postgres", "api-server"},
    "run-airflow-migrations": {"postgres"},
}


@pytest.mark.parametrize("source", LABELS)
def test_a_pod_reaches_what_it_uses_and_nothing_else(source: str) -> None:
    reached = {name for name, port in PORTS.items() if may_talk(DEV, LABELS[source], LABELS[name], port)}
    assert reached == OPEN.get(source, set())


def test_what_no_policy_names_is_denied_both_ways() -> None:
    spec = named(DEV, "NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("source", sorted(set(LABELS) - {"task", "scheduler", "api-server"}))
def test_only_tasks_and_what_starts_them_leave_the_cluster(source: str) -> None:
    assert not may_leave(DEV, LABELS[source], "203.0.113.7", 443)


def test_a_task_reaches_the_internet_and_no_network_beside_it() -> None:
    assert may_leave(DEV, LABELS["task"], "203.0.113.7", 443)
    for private in ("10.1.2.3", "172.20.1.1", "192.168.1.1", "169.254.169.254"):  # the last: a cloud's credentials
        assert not may_leave(DEV, LABELS["task"], private, 443)


def test_a_task_has_no_way_to_the_api_of_kubernetes() -> None:
    assert not may_leave(DEV, LABELS["task"], "203.0.113.7", 6443)
    assert may_leave(DEV, LABELS["scheduler"], "203.0.113.7", 6443)


def test_the_ingress_controller_reaches_the_service_and_no_other_pod() -> None:
    from_elsewhere = [
        one["metadata"]["name"]
        for one in DEV
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"].get("ingress", [])
        for peer in rule["from"]
        if "namespaceSelector" in peer and "podSelector" not in peer
    ]
    assert from_elsewhere == ["ingress-to-app"]


def test_prometheus_reaches_metrics_and_nothing_else() -> None:
    policies = objects((K8S / "components" / "monitoring" / "network.yaml").read_text())
    ports = {
        one["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: one["spec"]["ingress"][0]["ports"]
        for one in policies
    }
    assert ports == {name: [{"protocol": "TCP", "port": PORTS[name]}] for name in ("app", "exporter")}


def ingress() -> tuple[Object, dict[tuple[str, str], str]]:
    spec = named(DEV, "Ingress", "app")["spec"]
    (rule,) = spec["rules"]
    paths = {(one["pathType"], one["path"]): one["backend"]["service"]["name"] for one in rule["http"]["paths"]}
    return spec, paths


def backend(path: str) -> str | None:
    """As the Ingress says: an exact path first, else the longest prefix of whole parts."""
    _, paths = ingress()
    if ("Exact", path) in paths:
        return paths["Exact", path]
    prefixes = [
        prefix for kind, prefix in paths if kind == "Prefix" and f"{path.rstrip('/')}/".startswith(f"{prefix}/")
    ]
    return paths["Prefix", max(prefixes, key=len)] if prefixes else None


def test_every_route_can_be_reached_but_those_for_the_cluster() -> None:
    from snn_fusion.serving.app import ROUTES

    routes = {route.path for route in ROUTES if isinstance(route, Route | WebSocketRoute)}
    hidden = {path for path in routes if backend(path) is None}
    assert hidden == {"/ready", "/metrics"}


def test_decisions_on_models_go_to_the_reviewer() -> None:
    assert backend("/api/models/3/promote") == backend("/api/models/3/rollback") == "reviewer"
    assert backend("/api/experiments") == backend("/v1/predict") == backend("/") == "app"


def test_the_ingress_has_tls_for_its_host() -> None:
    spec, _ = ingress()
    assert spec["tls"] == [{"hosts": [spec["rules"][0]["host"]], "secretName": "tls"}]


def test_airflow_is_called_by_the_name_that_policies_and_settings_have() -> None:
    url = values()["config"]["core"]["execution_api_server_url"]
    assert url == "http://airflow-api-server:8080/execution/"
    assert LABELS["task"]["release"] == "airflow"
