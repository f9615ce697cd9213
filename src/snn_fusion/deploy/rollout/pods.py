"""The service's pods in a cluster, by kubectl: what they are, and what they say of themselves."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from snn_fusion.deploy.rollout.counted import Said, read
from snn_fusion.deploy.rollout.fleet import State
from snn_fusion.errors import BadInput, SnnFusionError

APP, NEW = "app", "app-new"  # Deployments
NAME = "app.kubernetes.io/name"
SELECTOR = {"snn-fusion/set": "new"}  # labels that pods of NEW have and those of APP have not
# The pod's own token of /metrics opens it: none leaves the cluster.
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

    def deployment(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "deployment", APP, "--output=json"))
        return found

    def image(self) -> str:
        """Of the Deployment `app`."""
        containers = self.deployment()["spec"]["template"]["spec"]["containers"]
        return str(next(one["image"] for one in containers if one["name"] == APP))

    def check_whole(self) -> None:
        """Raises BadInput where the Deployment is not as it should be, or a second one is there."""
        where = f"deployment/{APP}"
        try:
            found = self.deployment()
        except SnnFusionError as error:
            raise BadInput(where, str(error), "kubectl apply --filename k8s/, or --namespace") from None
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        if not fresh or any(status.get(key) != wanted for key in ("replicas", "updatedReplicas", "readyReplicas")):
            what = (
                f"{status.get('readyReplicas', 0)} of {wanted} pods are ready, {status.get('updatedReplicas', 0)} new"
            )
            raise BadInput(where, what, "updates begin with pods that are all ready: kubectl rollout status")
        if self.kubectl("get", "deployment", NEW, "--ignore-not-found", "--output=name").strip():
            what = "is there, of an update that was interrupted"
            raise BadInput(f"deployment/{NEW}", what, "snn-fusion deploy rollback --on kubernetes")

    def may(self, *what: str) -> bool:
        """Whether the cluster allows this user VERB RESOURCE."""
        command = [self.program, "--namespace", self.namespace, "auth", "can-i", *what]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "yes"

    def names(self, new: bool = False) -> list[str]:
        """The pods of one of the two sets that do not end."""
        ((key, value),) = SELECTOR.items()
        chosen = f"{NAME}={APP},{key}{'=' if new else '!='}{value}"
        items: list[Any] = json.loads(self.kubectl("get", "pods", f"--selector={chosen}", "--output=json"))["items"]
        found: list[str] = [one["metadata"]["name"] for one in items if "deletionTimestamp" not in one["metadata"]]
        return sorted(found)

    def label(self, pod: str, name: str) -> str:
        return str(self._pod(pod)["metadata"]["labels"][name])

    def state(self, replica: str) -> State | None:
        try:
            found = self._pod(replica)
        except SnnFusionError:
            return None
        status = next((s for s in found["status"].get("containerStatuses", []) if s["name"] == APP), None)
        if status is None or "deletionTimestamp" in found["metadata"]:
            return None
        running = "running" in status["state"]
        return State(status["image"], status["imageID"], "", running, "healthy", int(status["restartCount"]))

    def ready(self, replica: str) -> str | None:
        """Why it is not ready; None if it is."""
        conditions = self._pod(replica)["status"].get("conditions", [])
        found: dict[str, Any] = next((one for one in conditions if one["type"] == "Ready"), {})
        return None if found.get("status") == "True" else str(found.get("reason") or "not ready")

    def left(self, replica: str) -> bool:
        """Whether the autoscaler or a node's end takes it away. A pod that fails is started again in its place."""
        found = self.kubectl("get", "pod", replica, "--ignore-not-found", "--output=json")
        return not found.strip() or "deletionTimestamp" in json.loads(found)["metadata"]

    def said(self, replica: str) -> Said:
        """Nothing for whoever may run nothing in a pod."""
        if not self.may("create", "pods", "--subresource=exec"):
            return Said()
        return read(self.kubectl("exec", replica, f"--container={APP}", "--", "python", "-c", METRICS))

    def _pod(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "pod", name, "--output=json"))
        return found
