"""How the manifests behave in a real cluster: `make test-k8s`. Skipped without KUBECONFIG."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.conftest import Cluster, until
from tests.k8s.stage import Object, client

ASK = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "3"]
# Asks again and again until the file is there; prints how often, and each answer that was no 200.
LOAD = """
n=0
while [ $n -lt 100000 ]; do
    code=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 http://app:8080/health)
    n=$((n + 1)); echo "$n $code"
    sleep 0.02
done
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"


def test_the_api_takes_every_object_as_it_is(bare: Cluster, objects: list[Object]) -> None:
    """Validated by the API server itself, pod security among it; nothing is kept."""
    known = [one for one in objects if one["apiVersion"] in bare.served]
    namespace = [one for one in known if one["kind"] == "Namespace"]
    bare.apply(*namespace)
    try:
        rest = yaml.safe_dump_all(one for one in known if one["kind"] != "Namespace")
        done = bare.run("apply", bare.validate, "--dry-run=server", "--filename", "-", text=rest, fails=True)
        assert done.returncode == 0, done.stderr
        assert "would violate PodSecurity" not in done.stderr
    finally:
        bare.run("delete", "namespace", bare.namespace, "--wait=true")


def status(cluster: Cluster, pod: Object, path: str) -> str:
    return cluster.run("exec", pod["metadata"]["name"], "--", *ASK, f"http://127.0.0.1:8080{path}", fails=True).stdout


def test_each_replica_is_alive_and_ready(cluster: Cluster) -> None:
    for pod in cluster.ready("app"):
        assert (status(cluster, pod, "/health"), status(cluster, pod, "/ready")) == ("200", "200")


def test_strangers_are_not_answered(cluster: Cluster) -> None:
    pod = cluster.ready("app")[0]
    assert status(cluster, pod, "/metrics") == "401"


def test_a_pod_that_is_deleted_drains_and_is_replaced(cluster: Cluster) -> None:
    pod = cluster.ready("app")[0]
    cluster.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
    until(lambda: status(cluster, pod, "/ready") == "503", 10, "/ready of a pod that ends is red")
    assert status(cluster, pod, "/health") == "200"
    until(lambda: len(cluster.ready("app")) >= 2, 180, "a replacement that is ready")
    assert pod["metadata"]["name"] not in {one["metadata"]["name"] for one in cluster.pods("app")}


def test_a_container_that_ends_is_started_again(cluster: Cluster) -> None:
    name = cluster.ready("app")[0]["metadata"]["name"]

    def restarts() -> int:
        found = cluster.get("pod", name)["status"]["containerStatuses"][0]
        return int(found["restartCount"])

    before = restarts()
    cluster.run("exec", name, "--", "sh", "-c", "kill -TERM 1")
    until(lambda: restarts() > before, 120, "another start of the container")
    until(lambda: len(cluster.ready("app")) >= 2, 180, "readiness after it")


def test_an_image_that_does_not_start_replaces_nobody_and_is_undone(cluster: Cluster) -> None:
    before = {one["metadata"]["name"] for one in cluster.ready("app")}
    cluster.run("set", "image", "deployment/app", f"app={cluster.image}-that-there-is-not")
    done = cluster.run("rollout", "status", "deployment/app", "--timeout=30s", fails=True)
    assert done.returncode != 0
    assert before <= {one["metadata"]["name"] for one in cluster.ready("app")}
    cluster.run("rollout", "undo", "deployment/app")
    cluster.rolled_out("deployment/app")
    assert before <= {one["metadata"]["name"] for one in cluster.ready("app")}


@pytest.fixture
def load(cluster: Cluster) -> Iterator[str]:
    """A pod that asks the Service all the time; its log has each answer."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "test-load"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }
    policy["spec"] |= {"ingress": [{"ports": [{"port": 8080}]}], "egress": [{"ports": [{"port": 8080}]}]}  # type: ignore[operator]
    cluster.apply(policy, client("load", cluster.image, {"app": "load"}, ["sh", "-c", LOAD]))
    cluster.run("wait", "--for=condition=Ready", "pod/load", "--timeout=120s")
    yield "load"
    cluster.run("delete", "pod/load", "networkpolicy/test-load", "--grace-period=0", "--force", fails=True)


def answers(cluster: Cluster, pod: str) -> list[str]:
    return [line.split()[1] for line in cluster.run("logs", pod).stdout.splitlines() if len(line.split()) == 2]


def test_a_rollout_fails_no_request(cluster: Cluster, load: str) -> None:
    until(lambda: len(answers(cluster, load)) > 20, 60, "answers")
    if set(answers(cluster, load)) == {"000"}:
        pytest.skip("this cluster's Services or names do not work: nothing can be asked by the name of one")
    assert set(answers(cluster, load)) == {"200"}
    cluster.run("rollout", "restart", "deployment/app")
    cluster.rolled_out("deployment/app")
    seen = answers(cluster, load)
    assert len(seen) > 100
    assert set(seen) == {"200"}


def connects(cluster: Cluster, name: str, labels: dict[str, str], address: str, port: int) -> bool:
    """Whether a new pod with these labels can open a connection."""
    command = ["python3", "-c", CONNECT, address, str(port)]
    cluster.apply(client(name, cluster.image, labels, command))

    def phase() -> str:
        return str(cluster.get("pod", name)["status"]["phase"])

    until(lambda: phase() in ("Succeeded", "Failed"), 120, f"the end of pod {name}")
    ended = phase() == "Succeeded"
    cluster.run("delete", "pod", name, "--grace-period=0", "--force")
    return ended


def test_redis_can_be_reached_by_those_that_use_it_and_nobody_else(cluster: Cluster) -> None:
    cluster.rolled_out("statefulset/redis")
    address = cluster.ready("redis")[0]["status"]["podIP"]
    assert connects(cluster, "may", {"snn-fusion/to-redis": "true"}, address, 6379)
    app = cluster.ready("app")[0]["status"]["podIP"]
    if connects(cluster, "stranger", {"app": "stranger"}, app, 8080):
        pytest.skip("this cluster's network enforces no NetworkPolicy: none of them protects anything here")
    assert not connects(cluster, "may-not", {"app": "stranger"}, address, 6379)


def redis(cluster: Cluster, *command: str) -> str:
    script = 'REDISCLI_AUTH=$(sed -n "s/^requirepass //p" /run/secrets/redis.conf) redis-cli "$@"'
    return cluster.run("exec", "redis-0", "--", "sh", "-c", script, "sh", *command).stdout.strip()


def test_what_redis_keeps_outlives_its_pod(cluster: Cluster) -> None:
    cluster.rolled_out("statefulset/redis")
    uid = cluster.get("pod", "redis-0")["metadata"]["uid"]
    assert redis(cluster, "set", "snn-fusion:revoked:test", "1") == "OK"
    cluster.run("delete", "pod", "redis-0")
    cluster.rolled_out("statefulset/redis")
    assert cluster.get("pod", "redis-0")["metadata"]["uid"] != uid
    assert redis(cluster, "get", "snn-fusion:revoked:test") == "1"


def test_whoever_rolls_out_may_do_that_and_no_more(cluster: Cluster) -> None:
    def may(*action: str) -> bool:
        account = f"system:serviceaccount:{cluster.namespace}:deployer"
        done: subprocess.CompletedProcess[str] = cluster.run("auth", "can-i", *action, "--as", account, fails=True)
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    assert may("patch", "deployments.apps") and may("watch", "pods")
    assert not may("get", "secrets")
    assert not may("create", "pods/exec")
    assert not may("delete", "deployments.apps")


def test_a_privileged_pod_is_refused(cluster: Cluster) -> None:
    pod = client("privileged", cluster.image, {}, ["true"])
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    done = cluster.run("apply", "--dry-run=server", "--filename", "-", text=yaml.safe_dump(pod), fails=True)
    if done.returncode == 0 and "autoscaling/v2" not in cluster.served:
        pytest.skip("this cluster's API is too old for pod security standards")
    assert "violates PodSecurity" in done.stderr
