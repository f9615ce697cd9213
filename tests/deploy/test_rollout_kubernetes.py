"""The second Deployment that blue-green and canary start in a cluster, made of the manifests' own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from snn_fusion.deploy.rollout.kubernetes import second
from snn_fusion.deploy.rollout.pods import NEW, SELECTOR
from snn_fusion.errors import BadInput
from tests.deploy.k8s_objects import KUBECTL, Object, dev, may_talk, named, with_tools

IMAGE = "registry.example.org/snn-fusion/service:0.2.0"


@pytest.fixture
def beside() -> Object:
    """Made of `app` as a cluster gives it back, with fields of its own."""
    app = named(dev(), "Deployment", "app")
    app["metadata"] |= {"uid": "0", "resourceVersion": "1", "generation": 3, "managedFields": []}
    return second(app | {"status": {"replicas": 2}}, IMAGE, 3)


def test_the_new_pods_run_the_new_image_and_are_otherwise_as_the_old_ones(beside: Object) -> None:
    old, new = named(dev(), "Deployment", "app")["spec"]["template"]["spec"], beside["spec"]["template"]["spec"]
    assert [container.pop("image") for container in new["containers"]] == [IMAGE]
    for container in old["containers"]:
        del container["image"]
    assert new == old and beside["spec"]["replicas"] == 3


def test_the_service_and_the_network_policies_take_the_new_pods_for_the_services(beside: Object) -> None:
    manifests, labels = dev(), beside["spec"]["template"]["metadata"]["labels"]
    assert named(manifests, "Service", "app")["spec"]["selector"].items() <= labels.items()
    assert may_talk(manifests, labels, {"app.kubernetes.io/name": "mlflow"}, 5000)
    assert beside["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_two_deployments_are_told_apart_by_one_label(beside: Object) -> None:
    app = named(dev(), "Deployment", "app")
    assert beside["metadata"]["name"] == NEW
    assert not SELECTOR.items() <= app["spec"]["template"]["metadata"]["labels"].items()
    assert SELECTOR.items() <= beside["spec"]["selector"]["matchLabels"].items()


@with_tools
def test_the_second_deployment_fits_kubernetes_own_schema(beside: Object, tmp_path: Path) -> None:
    path = tmp_path / "beside.yaml"
    path.write_text(yaml.safe_dump(beside))
    validate = KUBECTL.with_name("kubernetes-validate")
    done = subprocess.run([validate, "--strict", "--quiet", "-k", "1.37", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_kubectl_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from snn_fusion.deploy.rollout import kubernetes

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"kubectl: is not installed \(https://kubernetes\.io"):
        kubernetes.rolling(IMAGE, 0, "snn-fusion", lambda text: None)
