"""The replicas on a Docker engine: started, asked, observed, and put behind nginx or taken from it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from snn_fusion.deploy import site
from snn_fusion.deploy.engine import Stack
from snn_fusion.deploy.options import Options
from snn_fusion.deploy.rollout import image, metrics, smoke
from snn_fusion.deploy.rollout.live import Live, Release
from snn_fusion.deploy.rollout.smoke import Call, Recordings, Reply
from snn_fusion.deploy.secret_files import KID
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.versions import CHAMPION
from snn_fusion.serving.tokens import Role, issue

HERE = Path(__file__).parent
READY_S = 300.0  # from the start of a replica to a green /ready
POLL_S = 1.0
STARTING, USUAL = 128, 1024  # weights of processor time: a start must not slow down the replicas that answer
ASK_S = 15.0  # for one request to a replica
PROMOTE_S = 650.0  # longer than the service takes for it
WITH_WORKSPACE = ("reviewer", "airflow-scheduler")
MODEL = "SNN_FUSION_SERVE_MODEL"
DEFAULT_PROJECT = "snn-fusion"  # compose.yaml's own


@dataclass(frozen=True)
class State:
    """What the engine says of a container: its image by name and digest, its model, how often it was restarted."""

    image: str
    digest: str
    model: str
    running: bool
    health: str  # starting, healthy, unhealthy
    restarts: int


class Watched(Protocol):
    """What is observed of replicas. Each method raises SnnFusionError if it cannot be done."""

    def state(self, replica: str) -> State | None: ...
    def ready(self, replica: str) -> str: ...  # why it is not ready; empty if it is
    def report(self, replica: str) -> metrics.Report: ...
    def scaled_away(self, replica: str) -> bool: ...  # removed by the autoscaler, which is no failure


class Fleet(Watched, Protocol):
    """What updates do with replicas. Each method raises SnnFusionError if it cannot be done."""

    def route(self, live: Live) -> None: ...
    def start(self, replica: str, live: Live) -> None: ...
    def settle(self, replica: str) -> None: ...
    def remove(self, replicas: Sequence[str], live: Live) -> None: ...
    def runs(self, replica: str, release: Release) -> bool: ...
    def ask(self, replica: str, calls: Sequence[Call]) -> list[Reply]: ...
    def promote(self, model: str) -> str: ...  # why the gate refuses it; empty if it does not


class DockerFleet:
    """`stack` is Compose with the options of `folder`, the state folder."""

    def __init__(self, stack: Stack, options: Options, folder: Path) -> None:
        self.stack, self.options, self.folder = stack, options, folder

    def route(self, live: Live) -> None:
        """Have nginx send requests as `live` says, without losing one; its configuration is tested first."""
        site.write(self.folder / "nginx", self.options, live)
        self.stack.reload_nginx()

    def start(self, replica: str, live: Live) -> None:
        """Make the container anew, as `live` says, and wait until it is ready. One that runs drains first."""
        self._compose(live).run("up", "--detach", "--no-deps", "--no-build", "--force-recreate", replica)
        self._weigh(replica, STARTING)
        until, why = time.monotonic() + READY_S, ""
        while time.monotonic() < until:
            state = self.state(replica)
            if state is None or not state.running or state.restarts:
                raise SnnFusionError(f"{replica} does not stay up:\n{self._log(replica)}")
            why = self.ready(replica)
            if not why and state.health == "healthy":
                return
            time.sleep(POLL_S)
        raise SnnFusionError(
            f"{replica} is not ready after {READY_S:.0f} s: {why or 'unhealthy'}\n{self._log(replica)}"
        )

    def settle(self, replica: str) -> None:
        """Give it the processor time of the others, now that it has been tested."""
        self._weigh(replica, USUAL)

    def _weigh(self, replica: str, shares: int) -> None:
        self.stack.engine.run("update", "--cpu-shares", str(shares), self._container(replica))

    def remove(self, replicas: Sequence[str], live: Live) -> None:
        self._compose(live).run("rm", "--stop", "--force", *replicas)

    def state(self, replica: str) -> State | None:
        try:
            text = self.stack.engine.run("container", "inspect", self._container(replica))
        except SnnFusionError:
            return None
        container: dict[str, Any] = json.loads(text)[0]
        state = container["State"]
        variables = dict(line.partition("=")[::2] for line in container["Config"]["Env"])
        return State(
            container["Config"]["Image"],
            container["Image"],
            variables.get(MODEL) or CHAMPION,
            bool(state["Running"]),
            state.get("Health", {}).get("Status", "healthy"),
            int(container["RestartCount"]),
        )

    def runs(self, replica: str, release: Release) -> bool:
        """Whether it is ready and runs what `release` says."""
        state = self.state(replica)
        if state is None or not state.running:
            return False
        wanted = release.images.get(replica) or f"{image.REPOSITORY}:{self.stack.tag}"
        digest = self.stack.engine.run("image", "inspect", "--format", "{{.Id}}", wanted).strip()
        model = release.models.get(replica, CHAMPION)
        return (state.digest, state.model) == (digest, model) and not self.ready(replica)

    def ready(self, replica: str) -> str:
        (reply,) = self.ask(replica, [Call("GET", "/ready")])
        if reply.status == 200:
            return ""
        try:
            return str(json.loads(reply.text)["why"])
        except (ValueError, KeyError, TypeError):
            return reply.text[:100] or f"answered {reply.status}"

    def report(self, replica: str) -> metrics.Report:
        token = (self.folder / "secrets" / "metrics_token").read_text().strip()
        (reply,) = self._send(replica, [Call("GET", "/metrics")], token)
        if reply.status != 200:
            raise SnnFusionError(f"{replica}: /metrics {f'answered {reply.status}' if reply.status else reply.text}")
        return metrics.read(reply.text)

    def scaled_away(self, replica: str) -> bool:
        return False

    def ask(self, replica: str, calls: Sequence[Call]) -> list[Reply]:
        return self._send(replica, calls, self._token(Role.PREDICTOR))

    def recordings(self, replica: str) -> Recordings:
        """Test recordings of the workspace where the pipeline runs, else the service's made-up examples."""
        running = {name for name, one in self.stack.containers().items() if one["State"] == "running"}
        for service in WITH_WORKSPACE:
            if service in running and (samples := self._python(service, HERE / "samples.py", "")):
                labels, bodies = zip(*samples, strict=True)
                return Recordings(labels, bodies, real=True)
        return smoke.made_up(partial(self.ask, replica))

    def promote(self, model: str) -> str:
        """Put a version through the gate, in the pipeline's own service."""
        if self.stack.containers().get("reviewer", {}).get("State") != "running":
            raise SnnFusionError("reviewer does not run, and only it can promote a model (`up --profile pipeline`)")
        headers = {"Authorization": f"Bearer {self._token(Role.REVIEWER)}"}
        calls = [["POST", f"/api/models/{model}/promote", headers, None]]
        ((status, text),) = self._python("reviewer", HERE / "inside.py", json.dumps([PROMOTE_S, calls]))
        body = json.loads(text) if status == 200 else {}
        return "" if body.get("promoted") else str(body.get("reason") or f"answered {status}: {text[:300]}")

    def _token(self, role: Role) -> str:
        key = self.folder / "secrets" / f"{KID}.private.json"
        return issue(key, "rollout", role, 1, "snn-fusion", "snn-fusion").token

    def _compose(self, live: Live) -> Stack:
        return replace(self.stack, environment={**self.stack.environment, **live.environment()})

    def _container(self, service: str) -> str:
        return f"{self.stack.project or DEFAULT_PROJECT}-{service}-1"

    def _send(self, replica: str, calls: Sequence[Call], token: str) -> list[Reply]:
        """Requests from within the container. The token goes in by standard input, not on a command line."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        requests = [[call.method, call.path, headers, call.body] for call in calls]
        replies = self._python(replica, HERE / "inside.py", json.dumps([ASK_S, requests]))
        return [Reply(*reply) for reply in replies]

    def _python(self, service: str, script: Path, given: str) -> Any:
        """What the script prints as JSON. Raises SnnFusionError."""
        command = [self.stack.engine.docker, "exec", "-i", self._container(service), "python", "-c", script.read_text()]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PROMOTE_S + 60)
        except subprocess.TimeoutExpired:
            raise SnnFusionError(f"{service} did not answer") from None
        if done.returncode:
            raise SnnFusionError(f"{script.name} failed in {service}:\n{done.stderr.strip()[-1000:]}")
        return json.loads(done.stdout)

    def _log(self, replica: str) -> str:
        try:
            log = self.stack.run("logs", "--no-color", "--no-log-prefix", "--tail", "20", replica)
            return log.strip()[-3000:] or "(no log)"
        except SnnFusionError:
            return "(no log)"
