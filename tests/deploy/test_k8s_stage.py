"""What `make test-k8s` puts into a cluster, looked at without one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from snn_fusion.serving.model import float_model
from tests.deploy.k8s_objects import Object, dev, named, pods, script, with_tools
from tests.k8s.stage import client, config_map, small_graph, staged

CURRENT = {one["apiVersion"] for one in dev()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Object:
    return config_map(small_graph(tmp_path_factory.mktemp("graph")))


def test_the_network_fits_a_config_map(model: Object) -> None:
    assert sum(len(base64.b64decode(one)) for one in model["binaryData"].values()) < 2**20


def test_the_service_loads_it_as_kubernetes_mounts_it(model: Object, tmp_path: Path) -> None:
    """Each file is a link into a folder that a link names."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..data").symlink_to("..1")
    for name, content in model["binaryData"].items():
        (tmp_path / "..1" / name).write_bytes(base64.b64decode(content))
        (tmp_path / name).symlink_to(Path("..data") / name)
    assert float_model(tmp_path, "small").graph.classes == tuple("0123456789")


def test_the_service_is_the_manifests_own_but_for_its_model_and_image() -> None:
    taken, left_out = staged(dev(), "service:1", "redis:1", CURRENT)
    assert left_out == []
    before, after = (named(of, "Deployment", "app")["spec"]["template"]["spec"] for of in (dev(), taken))
    assert after["containers"][0].pop("image") == "service:1"
    before["containers"][0].pop("image")
    assert after["volumes"].pop()["name"] == after["containers"][0]["volumeMounts"].pop()["name"] == "model"
    assert after == before


def test_nothing_that_is_applied_mounts_what_is_not() -> None:
    taken, _ = staged(dev(), "service:1", "redis:1", CURRENT)
    accounts = {one["metadata"]["name"] for one in taken if one["kind"] == "ServiceAccount"}
    assert {pod["spec"]["serviceAccountName"] for pod in pods(taken).values()} <= accounts
    claimed = [v for pod in pods(taken).values() for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert claimed == []


def test_what_an_old_api_lacks_is_left_out_and_named() -> None:
    taken, left_out = staged(dev(), "service:1", "redis:1", CURRENT - {"autoscaling/v2", "policy/v1"})
    assert left_out == ["PodDisruptionBudget of policy/v1", "HorizontalPodAutoscaler of autoscaling/v2"]
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & {one["kind"] for one in taken}
    assert named(taken, "Deployment", "app")["spec"]["replicas"] == 2


@with_tools
def test_all_of_it_fits_the_api(model: Object, tmp_path: Path) -> None:
    taken, _ = staged(dev(), "service:1", "redis:1", CURRENT)
    path = tmp_path / "staged.yaml"
    path.write_text(yaml.safe_dump_all([*taken, model, client("one", "service:1", {"a": "b"}, ["true"])]))
    assert script("k8s_check").invalid(path) == []
