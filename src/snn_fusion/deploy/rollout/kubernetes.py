"""The ways on Kubernetes: `kubectl`, the Deployment `app` and, for blue-green and canary, a second one beside it.

Kubernetes replaces pods and waits for them to be ready by itself; what is added is the second set, the watch, and the
way back. All changes end in the Deployment `app`, so that autoscaler and manifests go on as before.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from snn_fusion.deploy.options import state_folder
from snn_fusion.deploy.rollout import judge, record
from snn_fusion.deploy.rollout.live import alone
from snn_fusion.deploy.rollout.pods import APP, NEW, SELECTOR, Pods
from snn_fusion.deploy.rollout.watch import Clock, NotGood, Watch
from snn_fusion.errors import BadInput, SnnFusionError

HASH = "pod-template-hash"
ROLLED_S = 600  # for a Deployment to be as it should
Say = Callable[[str], None]


@dataclass(frozen=True)
class Update:
    """From the image `was` to `name`; `pods` are those that answer before it."""

    pods: Pods
    name: str
    was: str
    say: Say
    clock: Clock = time

    def rolling(self, watch_s: float) -> str:
        self._all(watch_s)
        return "every pod is ready"

    def blue_green(self, watch_s: float) -> str:
        """While the new set is tried, the Service is held to the pods of one set by the hash of their template."""
        names = self.pods.names()
        self._select(self.pods.label(names[0], HASH))
        self._beside(len(names))
        new = self.pods.names(new=True)
        self._select(self.pods.label(new[0], HASH))
        self.say("all requests to the new pods")
        Watch(self.pods, self.clock, tuple(new), watch_s).run()
        self._roll()
        self._tidy()
        return "the new pods answered well before they took the old ones' place"

    def canary(self, share: float, trial_s: float, least: int, watch_s: float) -> str:
        """Both sets are behind the Service: the share is that of the pods."""
        old = self.pods.names()
        self._beside(max(1, round(share * len(old) / (1 - share))))
        new = self.pods.names(new=True)
        self.say(f"{len(new)} of {len(old) + len(new)} pods are new")
        found, said = Watch(self.pods, self.clock, tuple(new), trial_s, beside=tuple(old)).run()
        traffic = judge.enough(said.counts, least)
        if not traffic.good:
            raise NotGood([traffic])
        self._all(watch_s)
        self._tidy()
        return "; ".join(f"{one.test}: {one.text}" for one in [*found, traffic])

    def undo(self) -> None:
        """All requests to the old pods at once, then everything as it was."""
        if self.pods.names(new=True):
            self._select(self.pods.label(self.pods.names()[0], HASH))
        if self.pods.image() != self.was:
            self._set(self.was)
        self._tidy()

    def _all(self, watch_s: float) -> None:
        self._roll()
        Watch(self.pods, self.clock, tuple(self.pods.names()), watch_s).run()

    def _roll(self) -> None:
        self.say(f"deployment/{APP}: {self.name}")
        self._set(self.name)

    def _set(self, image: str) -> None:
        self.pods.kubectl("set", "image", f"deployment/{APP}", f"{APP}={image}")
        self._until_rolled(APP)

    def _until_rolled(self, deployment: str) -> None:
        self.pods.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={ROLLED_S}s")

    def _beside(self, replicas: int) -> None:
        """A Deployment like `app`, with the new image and a label more."""
        self.pods.kubectl("apply", "-f", "-", given=json.dumps(second(self.pods.deployment(), self.name, replicas)))
        self.say(f"deployment/{NEW}: {replicas} pods")
        self._until_rolled(NEW)

    def _select(self, template: str | None) -> None:
        patch = {"spec": {"selector": {HASH: template}}}
        self.pods.kubectl("patch", "service", APP, "--type=merge", f"--patch={json.dumps(patch)}")

    def _tidy(self) -> None:
        self._select(None)
        self.pods.kubectl("delete", "deployment", NEW, "--ignore-not-found", "--wait=false")


def second(app: dict[str, Any], image: str, replicas: int) -> dict[str, Any]:
    """The Deployment of the new set: what the cluster added to `app` is left out."""
    template = json.loads(json.dumps(app["spec"]["template"]))
    template["metadata"] = {"labels": {**template["metadata"]["labels"], **SELECTOR}}
    next(one for one in template["spec"]["containers"] if one["name"] == APP)["image"] = image
    labels = {**app["metadata"].get("labels", {}), **SELECTOR}
    kept = ("strategy", "minReadySeconds", "progressDeadlineSeconds")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NEW, "labels": labels},
        "spec": {
            **{key: app["spec"][key] for key in kept if key in app["spec"]},
            "replicas": replicas,
            "selector": {"matchLabels": {**app["spec"]["selector"]["matchLabels"], **SELECTOR}},
            "template": template,
        },
    }


def rolling(name: str, watch_s: float, namespace: str, say: Say) -> dict[str, Any]:
    """Raises BadInput before anything is changed, SnnFusionError after all was turned back."""
    return _carried_out("rolling", name, namespace, say, lambda update: update.rolling(watch_s))


def blue_green(name: str, watch_s: float, namespace: str, say: Say) -> dict[str, Any]:
    """Raises as `rolling`."""
    return _carried_out("blue-green", name, namespace, say, lambda update: update.blue_green(watch_s))


def canary(
    name: str, share: float, trial_s: float, least: int, watch_s: float, namespace: str, say: Say
) -> dict[str, Any]:
    """Raises as `rolling`."""
    return _carried_out("canary", name, namespace, say, lambda update: update.canary(share, trial_s, least, watch_s))


def rollback(namespace: str, say: Say) -> dict[str, Any]:
    """To the revision before, or out of an update that was interrupted. Raises BadInput, SnnFusionError."""
    pods = _pods(namespace)
    with alone(state_folder(), "deploy rollback"):
        started, was = time.monotonic(), pods.image()
        update = Update(pods, was, was, say)
        if pods.names(new=True):
            update.undo()
            why = "asked for; an update had been interrupted"
        else:
            pods.kubectl("rollout", "undo", f"deployment/{APP}")
            pods.kubectl("rollout", "status", f"deployment/{APP}", f"--timeout={ROLLED_S}s")
            why = "asked for"
        seconds = time.monotonic() - started
        return record.append(state_folder(), "rollback", "done", why, was, pods.image(), seconds, [])


BESIDE = (("patch", "services"), ("create", "deployments.apps"), ("delete", "deployments.apps"))
JUDGING = ("create", "pods", "--subresource=exec")


def _carried_out(way: str, name: str, namespace: str, say: Say, work: Callable[[Update], str]) -> dict[str, Any]:
    pods = _pods(namespace)
    with alone(state_folder(), f"deploy {way}"):
        pods.check_whole()
        needed = {"rolling": (), "blue-green": BESIDE, "canary": (*BESIDE, JUDGING)}[way]
        for one in (("patch", "deployments.apps"), *needed):
            if not pods.may(*one):
                raise BadInput(
                    "kubectl", f"may not {' '.join(one)}", "the role that docs/updates.md gives for this way"
                )
        started, was = time.monotonic(), pods.image()
        with _turned_back(way, Update(pods, name, was, say), started) as update:
            why = work(update)
        return record.append(state_folder(), way, "done", why, was, name, time.monotonic() - started, [])


@contextmanager
def _turned_back(way: str, update: Update, started: float) -> Iterator[Update]:
    """Within, whatever fails is undone, on record. Raises it again."""
    try:
        yield update
    except BaseException as error:
        why = str(error) or type(error).__name__
        update.say(f"turning back: {why}")
        bodies = [one.body() for one in error.findings] if isinstance(error, NotGood) else []
        verdict: record.Verdict = "turned back"
        try:
            update.undo()
        except BaseException as second:
            verdict, why = "failed", f"{why}; and turning back failed: {second}"
            raise
        finally:
            seconds = time.monotonic() - started
            record.append(state_folder(), way, verdict, why, update.was, update.name, seconds, bodies)
        if not isinstance(error, SnnFusionError):
            raise
        raise SnnFusionError(f"turned back, {update.was} answers: {why}") from error


def _pods(namespace: str) -> Pods:
    """Raises BadInput."""
    program = shutil.which("kubectl")
    if program is None:
        raise BadInput("kubectl", "is not installed", "https://kubernetes.io/docs/tasks/tools/")
    return Pods(program, namespace)
