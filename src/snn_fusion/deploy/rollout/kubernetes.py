"""The ways on Kubernetes, by kubectl: the Deployment `app` and, for blue-green and canary, a second one beside it.

Kubernetes itself replaces pods and waits until they are ready; this adds the second set, the watch, and the way back.
All changes end in the Deployment `app`, so that autoscaler and manifests keep working.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.deploy.options import state_folder
from snn_fusion.deploy.rollout import judge, record
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.deploy.rollout.live import exclusive
from snn_fusion.deploy.rollout.pods import APP, NEW, SELECTOR, Pods
from snn_fusion.deploy.rollout.watch import Clock, Rejected, Watch
from snn_fusion.errors import BadInput, SnnFusionError

HASH = "pod-template-hash"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Update:
    """From the image `old` to `new`."""

    pods: Pods
    old: str
    new: str
    say: Say
    clock: Clock = time

    def rolling(self, watch_s: float) -> list[Finding]:
        self._replace_all()
        return self._watch(self.pods.names(), watch_s)

    def blue_green(self, watch_s: float) -> list[Finding]:
        """While the new pods are tested, the hash of their template keeps the Service to one set."""
        pods = self.pods.names()
        self._select(self.pods.label(pods[0], HASH))
        self._start_beside(len(pods))
        new = self.pods.names(new=True)
        self._select(self.pods.label(new[0], HASH))
        self.say("all requests to the new pods")
        findings = self._watch(new, watch_s)
        self._replace_all()
        self._tidy()
        return findings

    def canary(self, share: float, trial_s: float, least: int, watch_s: float) -> list[Finding]:
        """Both sets are behind the Service: the share is that of the pods."""
        old = self.pods.names()
        self._start_beside(max(1, round(share * len(old) / (1 - share))))
        new = self.pods.names(new=True)
        self.say(f"{len(new)} of {len(old) + len(new)} pods are new")
        findings, report = Watch(self.pods, self.clock, tuple(new), trial_s, beside=tuple(old)).run()
        findings.append(judge.traffic(report.counts, least))
        if judge.rejection(findings):
            raise Rejected(findings)
        self._replace_all()
        self._watch(self.pods.names(), watch_s)
        self._tidy()
        return findings

    def undo(self) -> None:
        """All requests to the old pods at once, then everything as it was."""
        if self.pods.names(new=True):
            self._select(self.pods.label(self.pods.names()[0], HASH))
        if self.pods.image() != self.old:
            self._set_image(self.old)
        self._tidy()

    def _watch(self, pods: list[str], seconds: float) -> list[Finding]:
        self.say(f"{len(pods)} pods: watched for {seconds:.0f} s")
        return Watch(self.pods, self.clock, tuple(pods), seconds).run()[0]

    def _replace_all(self) -> None:
        self.say(f"deployment/{APP}: {self.new}")
        self._set_image(self.new)

    def _set_image(self, image: str) -> None:
        self.pods.kubectl("set", "image", f"deployment/{APP}", f"{APP}={image}")
        self.pods.until_rolled_out(APP)

    def _start_beside(self, replicas: int) -> None:
        """A Deployment like `app`, with the new image and one more label."""
        self.pods.kubectl("apply", "-f", "-", given=json.dumps(second(self.pods.deployment(), self.new, replicas)))
        self.say(f"deployment/{NEW}: {replicas} pods")
        self.pods.until_rolled_out(NEW)

    def _select(self, template: str | None) -> None:
        patch = {"spec": {"selector": {HASH: template}}}
        self.pods.kubectl("patch", "service", APP, "--type=merge", f"--patch={json.dumps(patch)}")

    def _tidy(self) -> None:
        self._select(None)
        self.pods.kubectl("delete", "deployment", NEW, "--ignore-not-found", "--wait=false")


def second(app: dict[str, Any], image: str, replicas: int) -> dict[str, Any]:
    """The Deployment of the new set, made of the running Deployment `app` without what the cluster added to it."""
    template = json.loads(json.dumps(app["spec"]["template"]))
    template["metadata"] = {"labels": {**template["metadata"]["labels"], **SELECTOR}}
    container = next(item for item in template["spec"]["containers"] if item["name"] == APP)
    container["image"] = image
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
    return _carry_out("rolling", name, namespace, say, lambda update: update.rolling(watch_s))


def blue_green(name: str, watch_s: float, namespace: str, say: Say) -> dict[str, Any]:
    """Raises as `rolling`."""
    return _carry_out("blue-green", name, namespace, say, lambda update: update.blue_green(watch_s))


def canary(
    name: str, share: float, trial_s: float, least: int, watch_s: float, namespace: str, say: Say
) -> dict[str, Any]:
    """Raises as `rolling`."""
    return _carry_out("canary", name, namespace, say, lambda update: update.canary(share, trial_s, least, watch_s))


def rollback(namespace: str, say: Say) -> dict[str, Any]:
    """To the revision before, or out of an update that was interrupted. Raises BadInput, SnnFusionError."""
    pods, state = _pods(namespace), state_folder()
    with exclusive(state, "deploy rollback"):
        started, old = time.monotonic(), pods.image()
        if pods.names(new=True):
            Update(pods, old, old, say).undo()
            why = "asked for; an update had been interrupted"
        else:
            pods.kubectl("rollout", "undo", f"deployment/{APP}")
            pods.until_rolled_out(APP)
            why = "asked for"
        return record.append(state, "rollback", "done", why, old, pods.image(), time.monotonic() - started)


def _carry_out(
    way: str, name: str, namespace: str, say: Say, work: Callable[[Update], list[Finding]]
) -> dict[str, Any]:
    pods, state = _pods(namespace), state_folder()
    with exclusive(state, f"deploy {way}"):
        pods.check_rights()
        pods.check_whole()
        started, update = time.monotonic(), Update(pods, pods.image(), name, say)
        try:
            findings = work(update)
        except BaseException as error:
            _turn_back(way, update, state, started, error)
            if not isinstance(error, SnnFusionError):
                raise
            raise SnnFusionError(f"turned back, {update.old} answers: {error}") from error
        why = judge.summary(findings)
        return record.append(state, way, "done", why, update.old, name, time.monotonic() - started, findings)


def _turn_back(way: str, update: Update, state: Path, started: float, error: BaseException) -> None:
    """Undo the update, on record."""
    why, findings = str(error) or type(error).__name__, error.findings if isinstance(error, Rejected) else []
    update.say(f"turning back: {why}")
    verdict: record.Verdict = "turned back"
    try:
        update.undo()
    except BaseException as second_error:
        verdict, why = "failed", f"{why}; and turning back failed: {second_error}"
        raise
    finally:
        record.append(state, way, verdict, why, update.old, update.new, time.monotonic() - started, findings)


def _pods(namespace: str) -> Pods:
    """Raises BadInput."""
    program = shutil.which("kubectl")
    if program is None:
        raise BadInput("kubectl", "is not installed", "https://kubernetes.io/docs/tasks/tools/")
    return Pods(program, namespace)
