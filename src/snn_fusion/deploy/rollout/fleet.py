"""The replicas on a Docker engine: started, asked, looked at, and put before or behind nginx."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from snn_fusion.deploy import site
from snn_fusion.deploy.engine import Stack
from snn_fusion.deploy.options import Options
from snn_fusion.deploy.rollout import image, smoke
from snn_fusion.deploy.rollout.counted import Said, read
from snn_fusion.deploy.rollout.live import Live, Runs
from snn_fusion.deploy.rollout.smoke import Call, Recordings, Reply
from snn_fusion.deploy.secret_files import KID
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.versions import CHAMPION
from snn_fusion.serving.tokens import Role, issue

HERE = Path(__file__).parent
READY_S = 180.0  # from the start of a replica to a green /ready
POLL_S = 1.0
ASK_S = 15.0  # for one request to a replica
PROMOTE_S = 650.0  # longer than the service takes for it
WITH_WORKSPACE = ("reviewer", "airflow-scheduler")
MODEL = "SNN_FUSION_SERVE_MODEL"
DEFAULT_PROJECT = "snn-fusion"  # compose.yaml's own


@dataclass(frozen=True)
class State:
    """What the engine says of a container: its image by `name` and digest, and how often it was started again."""

    name: str
    image: str
    model: str
    running: bool
    health: str  # starting, healthy, unhealthy
    restarts: int


class Watched(Protocol):
    """What is looked at of replicas; each method raises SnnFusionError if it cannot be done."""

    def state(self, replica: str) -> State | None: ...
    def ready(self, replica: str) -> str | None: ...
    def said(self, replica: str) -> Said: ...
    def left(self, replica: str) -> bool: ...  # taken away by whoever scales, which is no failure


class Fleet(Watched, Protocol):
    """What updates do with replicas, likewise."""

    def route(self, live: Live) -> None: ...
    def start(self, replica: str, live: Live) -> None: ...
    def remove(self, replicas: Sequence[str], live: Live) -> None: ...
    def runs(self, replica: str, wanted: Runs) -> bool: ...
    def ask(self, replica: str, calls: Sequence[Call]) -> list[Reply]: ...
    def promote(self, model: str) -> str | None: ...


class DockerFleet:
    """`stack` is Compose with the options of `state`; which replicas there are is said at each call."""

    def __init__(self, stack: Stack, options: Options, state: Path) -> None:
        self.stack, self.options, self.folder = stack, options, state

    def route(self, live: Live) -> None:
        """Have nginx send requests as `live` says, without losing one; its configuration is tested first."""
        site.write(self.folder / "nginx", self.options, live)
        nginx = ["exec", "-T", "nginx", "nginx", "-c", "/etc/nginx/snn-fusion/nginx.conf"]
        self.stack.run(*nginx, "-t")
        self.stack.run(*nginx, "-s", "reload")

    def start(self, replica: str, live: Live) -> None:
        """Make the container anew, as `live` says, and wait until it is ready; one that runs ends what it has taken."""
        live.applied(self.stack).run("up", "--detach", "--no-deps", "--no-build", "--force-recreate", replica)
        until, why = time.monotonic() + READY_S, "it was not started"
        while time.monotonic() < until:
            found = self.state(replica)
            if found is None or not found.running or found.restarts:
                raise SnnFusionError(f"{replica} does not stay up:\n{self._log(replica)}")
            why = self.ready(replica) or ""
            if not why and found.health == "healthy":
                return
            time.sleep(POLL_S)
        raise SnnFusionError(
            f"{replica} is not ready after {READY_S:.0f} s: {why or 'unhealthy'}\n{self._log(replica)}"
        )

    def remove(self, replicas: Sequence[str], live: Live) -> None:
        live.applied(self.stack).run("rm", "--stop", "--force", *replicas)

    def state(self, replica: str) -> State | None:
        try:
            text = self.stack.engine.run("container", "inspect", self._container(replica))
        except SnnFusionError:
            return None
        found: dict[str, Any] = json.loads(text)[0]
        state, variables = found["State"], dict(one.partition("=")[::2] for one in found["Config"]["Env"])
        return State(
            found["Config"]["Image"],
            found["Image"],
            variables.get(MODEL) or CHAMPION,
            bool(state["Running"]),
            state.get("Health", {}).get("Status", "healthy"),
            int(found["RestartCount"]),
        )

    def runs(self, replica: str, wanted: Runs) -> bool:
        """Whether it is what `wanted` says, and ready."""
        found = self.state(replica)
        return (
            found is not None
            and found.running
            and found.image == self._digest(wanted.images.get(replica) or f"{image.REPOSITORY}:{self.stack.tag}")
            and found.model == wanted.models.get(replica, CHAMPION)
            and self.ready(replica) is None
        )

    def ready(self, replica: str) -> str | None:
        """Why it is not ready; None if it is."""
        (reply,) = self.ask(replica, [Call("GET", "/ready")])
        if reply.status == 200:
            return None
        try:
            return str(json.loads(reply.text)["why"])
        except (ValueError, KeyError, TypeError):
            return reply.text[:100] or f"answered {reply.status}"

    def said(self, replica: str) -> Said:
        token = (self.folder / "secrets" / "metrics_token").read_text().strip()
        (reply,) = self._inside(replica, [("GET", "/metrics", token, None)])
        if reply.status != 200:
            raise SnnFusionError(f"{replica}: /metrics {f'answered {reply.status}' if reply.status else reply.text}")
        return read(reply.text)

    def left(self, replica: str) -> bool:
        return False

    def ask(self, replica: str, calls: Sequence[Call]) -> list[Reply]:
        made = issue(self._key, "rollout", Role.PREDICTOR, 1, "snn-fusion", "snn-fusion")
        return self._inside(replica, [(one.method, one.path, made.token, one.body) for one in calls])

    def recordings(self, replica: str) -> Recordings:
        """Test recordings of the workspace where the pipeline runs, else the service's made-up examples."""
        there = self.stack.containers()
        holder = next((name for name in WITH_WORKSPACE if there.get(name, {}).get("State") == "running"), None)
        if holder:
            found = self._python(holder, HERE / "samples.py", "")
            if found:
                labels, bodies = zip(*found, strict=True)
                return Recordings(labels, bodies, real=True)
        return smoke.made_up(partial(self.ask, replica))

    def promote(self, model: str) -> str | None:
        """Put a version through the gate, in the pipeline's own service; why it was refused, or None."""
        there = self.stack.containers().get("reviewer", {})
        if there.get("State") != "running":
            raise SnnFusionError(
                "no service with the workspace runs: a model is promoted there (`up --profile pipeline`)"
            )
        made = issue(self._key, "rollout", Role.REVIEWER, 1, "snn-fusion", "snn-fusion")
        calls = [["POST", f"/api/models/{model}/promote", {"Authorization": f"Bearer {made.token}"}, None]]
        ((status, _, text),) = self._python("reviewer", HERE / "inside.py", json.dumps([PROMOTE_S, calls]))
        body = json.loads(text) if status == 200 else {}
        return None if body.get("promoted") else str(body.get("reason") or f"answered {status}: {text[:300]}")

    def _digest(self, name: str) -> str:
        return self.stack.engine.run("image", "inspect", "--format", "{{.Id}}", name).strip()

    def _container(self, service: str) -> str:
        return f"{self.stack.project or DEFAULT_PROJECT}-{service}-1"

    @property
    def _key(self) -> Path:
        return self.folder / "secrets" / f"{KID}.private.json"

    def _inside(self, replica: str, calls: Sequence[tuple[str, str, str, str | None]]) -> list[Reply]:
        """Requests from within the container. Tokens go in by standard input, not by a command line."""
        wire = [
            [method, path, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, body]
            for method, path, token, body in calls
        ]
        replies = self._python(replica, HERE / "inside.py", json.dumps([ASK_S, wire]))
        return [Reply(*one) for one in replies]

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
            return self.stack.run("logs", "--no-color", "--no-log-prefix", "--tail", "20", replica)[-3000:]
        except SnnFusionError:
            return "(no log)"
