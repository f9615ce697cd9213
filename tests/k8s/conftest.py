"""A namespace of its own in the cluster that KUBECONFIG names, with the service and Redis in it; removed at the end.

make test-k8s                                     the images snn-fusion/service:0.1.0, snn-fusion/redis:0.1.0
SNN_FUSION_K8S_REGISTRY=registry.example.com/ make test-k8s
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.stage import Object, config_map, small_graph, staged

ROOT = Path(__file__).resolve().parents[2]
READY_S = 300.0


@dataclass(frozen=True)
class Cluster:
    """kubectl in one namespace. `served`: versions of the API; `left_out`: what it is too old for."""

    program: str
    namespace: str
    image: str
    redis_image: str
    served: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()

    def run(self, *arguments: str, text: str | None = None, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """`fails`: whoever calls looks at how it ended."""
        command = [self.program, "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=READY_S + 60)
        assert fails or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done

    @property
    def validate(self) -> str:
        """An API that is older than the manifests drops fields that it does not know; a current one refuses them."""
        return f"--validate={'strict' if 'autoscaling/v2' in self.served else 'false'}"

    def get(self, *arguments: str) -> Any:
        return json.loads(self.run("get", *arguments, "--output", "json").stdout)

    def apply(self, *objects: Object) -> None:
        self.run("apply", self.validate, "--filename", "-", text=yaml.safe_dump_all(objects))

    def rolled_out(self, name: str) -> None:
        self.run("rollout", "status", name, f"--timeout={READY_S:.0f}s")

    def pods(self, name: str) -> list[Any]:
        """Those that are not ending, the oldest first."""
        found = self.get("pods", "--selector", f"app.kubernetes.io/name={name}")["items"]
        living = [one for one in found if "deletionTimestamp" not in one["metadata"]]
        return sorted(living, key=lambda one: one["metadata"]["creationTimestamp"])

    def ready(self, name: str) -> list[Any]:
        return [
            one
            for one in self.pods(name)
            if any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", []))
        ]


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"after {seconds:.0f} s not yet: {what}"
        time.sleep(1)


@pytest.fixture(scope="session")
def bare() -> Cluster:
    """kubectl, and what the API serves; nothing is changed."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs KUBECONFIG, the file that names a cluster")
    own = ROOT / ".venv-tools" / "bin" / "kubectl"
    program = str(own) if own.exists() else shutil.which("kubectl")
    if program is None:
        pytest.skip("needs kubectl (`python scripts/tools.py`)")
    registry = os.environ.get("SNN_FUSION_K8S_REGISTRY", "")
    tag = os.environ.get("SNN_FUSION_TAG", "0.1.0")
    images = [f"{registry}snn-fusion/{name}:{tag}" for name in ("service", "redis")]
    made = Cluster(program, f"snn-fusion-test-{secrets.token_hex(3)}", *images)
    served = frozenset(made.run("api-versions").stdout.split())
    return Cluster(program, made.namespace, *images, served)


@pytest.fixture(scope="session")
def objects(bare: Cluster) -> list[Object]:
    """All that `kubectl apply -f k8s/` brings, in the namespace of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.relpath(ROOT / "k8s" / "overlays" / "dev", Path(folder).resolve())
        content = {"namespace": bare.namespace, "resources": [base]}
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return [one for one in yaml.safe_load_all(bare.run("kustomize", folder).stdout) if one]


@pytest.fixture(scope="session")
def secret_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubernetes") / "secrets"


@pytest.fixture(scope="session")
def cluster(
    bare: Cluster, objects: list[Object], secret_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The service twice and Redis, ready."""
    taken, left_out = staged(objects, bare.image, bare.redis_image, set(bare.served))
    made = Cluster(bare.program, bare.namespace, bare.image, bare.redis_image, bare.served, tuple(left_out))
    if left_out:
        warnings.warn(f"this cluster's API is too old for {', '.join(left_out)}: not tried", stacklevel=1)
    (namespace,) = [one for one in taken if one["kind"] == "Namespace"]
    made.apply(namespace)
    try:
        command = [sys.executable, str(ROOT / "k8s" / "secrets" / "make.py"), str(secret_folder)]
        command += ["--namespace", made.namespace]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        made.run("apply", "--filename", "-", text=listed)
        made.run(
            "create", "--filename", "-", text=json.dumps(config_map(small_graph(tmp_path_factory.mktemp("graph"))))
        )
        made.apply(*[one for one in taken if one["kind"] != "Namespace"])
        made.rolled_out("deployment/app")
        until(lambda: len(made.ready("app")) >= 2, READY_S, "two replicas that are ready")
        yield made
    finally:
        made.run("delete", "namespace", made.namespace, "--wait=false", fails=True)
