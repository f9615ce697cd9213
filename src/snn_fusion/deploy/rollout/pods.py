"""The service's pods in a cluster, by kubectl: what they are, and what they report."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from snn_fusion.deploy.rollout.fleet import State
from snn_fusion.deploy.rollout.metrics import Report, read
from snn_fusion.errors import BadInput, SnnFusionError

APP, NEW = "app", "app-new"  # Deployments
NAME = "app.kubernetes.io/name"
SELECTOR = {"snn-fusion/set": "new"}  # label of the pods of NEW, which those of APP do not have
ROLLED_OUT_S = 600  # for a Deployment to have replaced its pods
RIGHTS = (  # of whoever updates; docs/updates.md has a role with them
    ("patch", "deployments.apps"),
    ("create", "deployments.apps"),
    ("delete", "deployments.apps"),
    ("patch", "services"),
    ("create", "pods", "--subresource=exec"),
)
# Reads /metrics with the pod's own token, so that none leaves the cluster.
METRICS = """
import sys, urllib.request
token = open("/run/secrets/metrics_token").read().strip()
request = urllib.request.Request("http://127.0.0.1:8080/metrics", headers={"Authorization": "Bearer " + token})
sys.stdout.write(urllib.request.urlopen(request, timeout=10).read().decode())
"""


@dataclass(frozen=True)
class Pods:
    """`program` is kubectl; which cluster, its own configuration says."""

    program: str
    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What it prints. Raises SnnFusionError with what it said if it fails."""
        command = [self.program, "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        if done.returncode:
            raise SnnFusionError(f"kubectl {arguments[0]} failed:\n{done.stderr.strip()[-2000:]}")
        return done.stdout

    def until_rolled_out(self, deployment: str) -> None:
        self.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={ROLLED_OUT_S}s")

    def deployment(self) -> dict[str, Any]:
        """The Deployment `app`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "deployment", APP, "--output=json"))
        return found

    def image(self) -> str:
        """Of the Deployment `app`."""
        containers = self.deployment()["spec"]["template"]["spec"]["containers"]
        return str(next(container["image"] for container in containers if container["name"] == APP))

    def check_rights(self) -> None:
        """Raises BadInput naming the first right that the cluster refuses."""
        for right in RIGHTS:
            command = [self.program, "--namespace", self.namespace, "auth", "can-i", *right]
            if subprocess.run(command, capture_output=True, text=True).stdout.strip() != "yes":
                raise BadInput("kubectl", f"may not {' '.join(right)}", "the role in docs/updates.md")

    def check_whole(self) -> None:
        """Raises BadInput where the Deployment is not as it should be, or a second one is there."""
        where = f"deployment/{APP}"
        try:
            app = self.deployment()
        except SnnFusionError as error:
            raise BadInput(where, str(error), "kubectl apply --filename k8s/, or --namespace") from None
        status, wanted = app.get("status", {}), app["spec"]["replicas"]
        current = status.get("observedGeneration") == app["metadata"]["generation"]
        if not current or any(status.get(key) != wanted for key in ("replicas", "updatedReplicas", "readyReplicas")):
            ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
            what = f"{ready} of {wanted} pods are ready, {updated} run the current template"
            raise BadInput(where, what, "updates begin with pods that are all ready: kubectl rollout status")
        if self.kubectl("get", "deployment", NEW, "--ignore-not-found", "--output=name").strip():
            what = "is left of an update that was interrupted"
            raise BadInput(f"deployment/{NEW}", what, "snn-fusion deploy rollback --on kubernetes")

    def names(self, new: bool = False) -> list[str]:
        """The pods of one of the two sets, without those that are ending."""
        ((key, value),) = SELECTOR.items()
        selector = f"{NAME}={APP},{key}{'=' if new else '!='}{value}"
        pods: list[Any] = json.loads(self.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
        return sorted(str(pod["metadata"]["name"]) for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def label(self, pod: str, name: str) -> str:
        return str(self._pod(pod)["metadata"]["labels"][name])

    def state(self, replica: str) -> State | None:
        try:
            pod = self._pod(replica)
        except SnnFusionError:
            return None
        status = next((item for item in pod["status"].get("containerStatuses", []) if item["name"] == APP), None)
        if status is None or "deletionTimestamp" in pod["metadata"]:
            return None
        running = "running" in status["state"]
        return State(status["image"], status["imageID"], "", running, "healthy", int(status["restartCount"]))

    def ready(self, replica: str) -> str:
        """Why it is not ready; empty if it is."""
        conditions = self._pod(replica)["status"].get("conditions", [])
        condition: dict[str, Any] = next((item for item in conditions if item["type"] == "Ready"), {})
        return "" if condition.get("status") == "True" else str(condition.get("reason") or "not ready")

    def scaled_away(self, replica: str) -> bool:
        """Whether the autoscaler or the end of a node removes it. A pod that fails is restarted in its place."""
        pod = self.kubectl("get", "pod", replica, "--ignore-not-found", "--output=json")
        return not pod.strip() or "deletionTimestamp" in json.loads(pod)["metadata"]

    def report(self, replica: str) -> Report:
        return read(self.kubectl("exec", replica, f"--container={APP}", "--", "python", "-c", METRICS))

    def _pod(self, name: str) -> dict[str, Any]:
        pod: dict[str, Any] = json.loads(self.kubectl("get", "pod", name, "--output=json"))
        return pod
