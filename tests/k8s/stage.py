"""What the tests put into a cluster: the manifests themselves, as far as they run without registry and database.

The service answers from a small network in a ConfigMap. Of what the cluster's API is too old for nothing is applied.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snn_fusion.config import load_params
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, save_graph
from snn_fusion.workspace import project_root

Object = dict[str, Any]
MODEL = "model"  # the ConfigMap with the graph, and where it is mounted
KEPT = {
    "Namespace": None,
    "ServiceAccount": {"app", "redis", "deployer"},
    "Role": None,
    "RoleBinding": None,
    "ConfigMap": {"app"},
    "Service": {"app", "redis"},
    "Deployment": {"app"},
    "StatefulSet": {"redis"},
    "HorizontalPodAutoscaler": None,
    "PodDisruptionBudget": None,
    "NetworkPolicy": {"default-deny", "names", "ingress-to-app", "redis", "to-redis"},
}


def staged(objects: Iterable[Object], image: str, redis_image: str, served: set[str]) -> tuple[list[Object], list[str]]:
    """The objects to apply, and which were left out because the API (`served`: its versions) does not have them."""
    taken, left_out = [], []
    for one in objects:
        if not _kept(one):
            continue
        if one["apiVersion"] not in served:
            left_out.append(f"{one['kind']} of {one['apiVersion']}")
            continue
        taken.append(_changed(copy.deepcopy(one), image, redis_image))
    return taken, left_out


def small_graph(folder: Path) -> Path:
    """The folder of a network that is small enough for a ConfigMap."""
    params = load_params(project_root() / "params.yaml")
    sizes: dict[Sense, int] = dict.fromkeys(SENSES, 8)
    network = FusionNetwork(
        {sense: inputs(params.encoding, sense) for sense in SENSES},
        10,
        params.network.model_copy(update={"branch": sizes, "joint": 12}),
        generator=initial_generator(1),
    )
    for weights in (*network.input.values(), *network.joint.values(), network.readout):
        weights.data = (weights.data * 512).round() / 512
    save_graph(folder / "graph", network, params.encoding, [str(label) for label in range(10)], {"seed": 1})
    return folder / "graph"


def config_map(graph: Path) -> Object:
    """The graph's files."""
    files = {path.name: base64.b64encode(path.read_bytes()).decode() for path in sorted(graph.iterdir())}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MODEL}, "binaryData": files}


def client(name: str, image: str, labels: Mapping[str, str], command: list[str]) -> Object:
    """A pod of the tests, as restricted as all others."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _kept(one: Object) -> bool:
    if one["kind"] not in KEPT:
        return False
    names, name = KEPT[one["kind"]], one["metadata"]["name"]
    return names is None or name in names or (one["kind"] == "ConfigMap" and name.startswith("app-"))


def _changed(one: Object, image: str, redis_image: str) -> Object:
    match one["kind"], one["metadata"]["name"]:
        case "ConfigMap", _:
            for name in ("SNN_FUSION_SERVE_FOLLOW_S", "MLFLOW_TRACKING_URI"):
                del one["data"][name]
            one["data"]["SNN_FUSION_SERVE_MODEL"] = f"/{MODEL}"
        case "Deployment", "app":
            one["spec"]["replicas"] = 2  # where there is no autoscaler of this version to see to it
            spec = one["spec"]["template"]["spec"]
            spec["containers"][0]["image"] = image
            spec["containers"][0]["volumeMounts"].append({"name": MODEL, "mountPath": f"/{MODEL}", "readOnly": True})
            spec["volumes"].append({"name": MODEL, "configMap": {"name": MODEL}})
        case "StatefulSet", "redis":
            one["spec"]["template"]["spec"]["containers"][0]["image"] = redis_image
    return one
