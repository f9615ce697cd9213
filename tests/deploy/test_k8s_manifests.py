"""The objects that `kubectl apply -f k8s/` brings: how pods run, what they are told, when they end."""

from __future__ import annotations

import re

import pytest

from snn_fusion.serving.settings import PREFIX, Settings
from tests.deploy.k8s_objects import K8S, ROOT, Object, containers, dev, named, pods, task

DEV = dev()
PODS = pods(DEV) | {"Airflow's task": task()}
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS.keys())


def test_apply_of_the_folder_takes_the_rendered_file_and_nothing_else() -> None:
    """kubectl takes every file of the folder itself that ends so, hidden ones too."""
    taken = [one.name for one in K8S.iterdir() if one.suffix in (".yaml", ".yml", ".json")]
    assert taken == ["snn-fusion.yaml"]


@each_pod
def test_a_pod_passes_the_restricted_standard(pod: Object) -> None:
    of = pod["spec"]["securityContext"]
    assert of["runAsNonRoot"] is True
    assert (of["runAsUser"], of["runAsGroup"], of["fsGroup"]) == (10001, 10001, 10001)
    assert of["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
    assert all("hostPath" not in volume for volume in pod["spec"]["volumes"])
    for one in containers(pod):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_namespace_demands_the_restricted_standard() -> None:
    labels = named(DEV, "Namespace", "snn-fusion")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@each_pod
def test_a_pod_has_an_account_and_no_token_of_it(pod: Object) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    if spec["serviceAccountName"] == "airflow-worker":
        return  # of Airflow's chart
    assert named(DEV, "ServiceAccount", spec["serviceAccountName"])["automountServiceAccountToken"] is False


@each_pod
def test_every_container_requests_and_is_limited(pod: Object) -> None:
    for one in containers(pod):
        assert set(one["resources"]["requests"]) == set(one["resources"]["limits"]) == {"cpu", "memory"}, one["name"]


@each_pod
def test_no_container_is_told_of_services_by_its_environment(pod: Object) -> None:
    """MLflow takes MLFLOW_PORT for a setting; Kubernetes would set it to tcp://..."""
    assert pod["spec"]["enableServiceLinks"] is False


@each_pod
def test_secrets_are_files_and_never_in_the_environment_or_the_arguments(pod: Object) -> None:
    for one in containers(pod):
        assert all("valueFrom" not in variable for variable in one.get("env", [])), one["name"]
        assert all("secretRef" not in source for source in one.get("envFrom", [])), one["name"]


@each_pod
def test_every_mounted_volume_is_there(pod: Object) -> None:
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {"data"}  # of a StatefulSet's claims
    for one in containers(pod):
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes


def test_images_are_those_of_the_dockerfile_with_a_fixed_tag() -> None:
    stages = set(re.findall(r"^FROM .* AS ([a-z]+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.M))
    for where, pod in pods(DEV).items():
        for one in containers(pod):
            name, tag = re.fullmatch(r"snn-fusion/([a-z]+):([0-9.]+)", one["image"]).groups()  # type: ignore[union-attr]
            assert tag == "0.1.0"
            assert name in stages, where


def test_programs_that_pods_run_lie_in_the_images() -> None:
    called = [
        part
        for pod in PODS.values()
        for one in containers(pod)
        for part in [*one.get("command", []), *one.get("args", []), *_probed(one)]
        if part.startswith("/opt/snn-fusion/")
    ]
    assert called
    for path in called:
        assert (ROOT / path.removeprefix("/opt/snn-fusion/")).is_file(), path


def _probed(container: Object) -> list[str]:
    probes = [container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")]
    return [part for probe in probes for part in probe.get("exec", {}).get("command", [])]


def test_the_service_knows_each_of_its_settings() -> None:
    (config,) = [
        one for one in DEV if one["kind"] == "ConfigMap" and re.fullmatch("app-[a-z0-9]{10}", one["metadata"]["name"])
    ]
    known = {f"{PREFIX}{field.upper()}" for field in Settings.__dataclass_fields__}
    settings = {key.removesuffix("_FILE") for key in config["data"] if key.startswith(PREFIX)}
    assert settings and settings <= known


def test_a_pod_of_the_service_may_drain_and_then_answer_all_that_it_took() -> None:
    (config,) = [one for one in DEV if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("app-")]
    drain_s = float(config["data"]["SNN_FUSION_SERVE_DRAIN_S"])
    longest_s = 10 + 20 + 20  # of one request: head, body, answer (docs/security.md)
    for name in ("app", "reviewer"):
        assert PODS[f"Deployment/{name}"]["spec"]["terminationGracePeriodSeconds"] >= drain_s + longest_s


@pytest.mark.parametrize("name", ["app", "reviewer"])
def test_the_service_is_probed_for_life_and_for_readiness_apart(name: str) -> None:
    """/ready is red under pressure and while it drains: were it asked for life, such a pod would be killed."""
    (container,) = PODS[f"Deployment/{name}"]["spec"]["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def test_pressure_of_a_moment_does_not_take_a_replica_out() -> None:
    (container,) = PODS["Deployment/app"]["spec"]["containers"]
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 30


def test_the_autoscaler_alone_says_how_many_replicas_there_are() -> None:
    assert "replicas" not in named(DEV, "Deployment", "app")["spec"]
    spec = named(DEV, "HorizontalPodAutoscaler", "app")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 20)
    shares = {one["resource"]["name"]: one["resource"]["target"]["averageUtilization"] for one in spec["metrics"]}
    assert shares == {"cpu": 70, "memory": 80}


def test_memory_at_rest_does_not_scale() -> None:
    """543 MB after 20,000 requests (docs/results.md): above the share that scales there would soon be 20 replicas."""
    (container,) = PODS["Deployment/app"]["spec"]["containers"]
    requested = re.fullmatch("([0-9]+)Gi", container["resources"]["requests"]["memory"])
    metrics = named(DEV, "HorizontalPodAutoscaler", "app")["spec"]["metrics"]
    (memory,) = [one["resource"]["target"] for one in metrics if one["resource"]["name"] == "memory"]
    assert requested
    assert memory["averageUtilization"] / 100 * int(requested[1]) * 2**30 > 543e6


def test_a_rollout_adds_before_it_removes_and_a_disruption_leaves_one() -> None:
    assert named(DEV, "Deployment", "app")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert named(DEV, "PodDisruptionBudget", "app")["spec"]["maxUnavailable"] == "25%"


def test_replicas_are_spread_over_zones_and_nodes() -> None:
    keys = [one["topologyKey"] for one in PODS["Deployment/app"]["spec"]["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_whoever_rolls_out_can_read_no_secret_and_run_nothing() -> None:
    roles = [one for one in DEV if one["kind"] in ("Role", "ClusterRole")]
    assert [one["metadata"]["name"] for one in roles] == ["deployer"]
    resources = {resource for rule in roles[0]["rules"] for resource in rule["resources"]}
    assert resources == {"deployments", "replicasets", "pods", "events"}
    changed = {r for rule in roles[0]["rules"] if {"patch", "update"} & set(rule["verbs"]) for r in rule["resources"]}
    assert changed == {"deployments"}


def test_databases_keep_their_volumes_when_they_are_deleted() -> None:
    for name in ("postgres", "redis"):
        spec = named(DEV, "StatefulSet", name)["spec"]
        assert spec["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
        assert set(spec.get("persistentVolumeClaimRetentionPolicy", {}).values()) <= {"Retain"}


def test_the_backup_runs_daily_and_never_beside_itself() -> None:
    spec = named(DEV, "CronJob", "backup")["spec"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    assert PODS["CronJob/backup"]["spec"]["containers"][0]["args"] == [
        "/opt/snn-fusion/docker/backup/backup.sh",
        "backup",
    ]
