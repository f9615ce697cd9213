"""`snn-fusion up` and `down`: the whole stack on this host, by Docker Compose."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from snn_fusion.deploy import certificate, images, sbom, secret_files, site
from snn_fusion.deploy.engine import GOOD, Engine, Stack, condition, find
from snn_fusion.deploy.options import NAME, Options, state_folder
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import disk_errors, project_root, write_atomic

GB = 10**9
MEMORY = {"": 4 * GB, "pipeline": 8 * GB, "celery": 4 * GB, "monitoring": 2 * GB, "logging": 6 * GB, "backup": 2 * GB}
DISK = {"": 8 * GB, "pipeline": 14 * GB, "backup": 4 * GB}  # for images and volumes of a new stack
HEALTHY_S = 600.0
PROJECT = "SNN_FUSION_PROJECT"  # environment variable: several stacks on one engine, each with a state and a subnet


def stack(options: Options, engine: Engine | None = None) -> Stack:
    """Compose for this stack, as it is or would be started."""
    file = project_root() / "docker" / "compose.yaml"
    tag = images.tag()
    project = os.environ.get(PROJECT, "")
    state = state_folder()
    engine = engine or find()
    environment = {**options.environment(state, tag), **Live.load(state).environment()}
    environment["SNN_FUSION_DOCKER_ROOT"] = engine.root  # where the lines of containers lie
    return Stack(engine, file, tag, project, options.profiles, environment)


def started() -> Stack | None:
    """Compose for the stack that `up` was run for here; None if it never was. Raises BadInput."""
    state = state_folder()
    return stack(Options.load(state)) if (state / NAME).exists() else None


def up(options: Options, given: tuple[Path, Path] | None, console: Console) -> dict[str, Any]:
    """Make what is missing, build, start, wait until all is healthy. Changes nothing where all is as it should be.

    Raises BadInput before anything is changed if Docker is missing, a port is taken, memory or disk are too small, a
    secret is weak, or the certificate does not fit.
    """
    engine, state = find(), state_folder()
    running = stack(options, engine)
    check_room(engine, options, running)
    secrets = state / "secrets"
    certificate.check(secrets, options.host, given)
    before = _front(state)
    made = secret_files.make(secrets)
    shown = certificate.settle(secrets, options.host, given)
    secret_files.hand_over(secrets)
    site.write(state / "nginx", options)
    options.save(state)
    for line in (f"secrets: made {', '.join(made)}" if made else "secrets: as they were", shown):
        console.print(line, highlight=False)
    write_environment(state, running)
    if "backup" not in options.profiles:
        console.print("backups: none are made (--profile backup, beside those that you use)", highlight=False)
    images.bring_torch()
    for image in images.needed(options.profiles):
        with console.status(f"image {image}"):
            sbom.write(engine, images.build(engine, image, running.tag, console.print), state / "sbom")
    ran = running.containers().get("nginx", {}).get("ID")
    running.run("up", "--detach", "--remove-orphans", "--quiet-pull", "--no-build")
    if ran and ran == running.containers()["nginx"]["ID"]:
        _renew_front(running, before, _front(state))
    _until_healthy(running, console)
    return {
        "address": f"{options.origin}/",
        "certificate": str(secrets / "tls.crt"),
        "sign tokens with": str(secrets / f"{secret_files.KID}.private.json"),
        "user of /airflow, /mlflow, /grafana, /kibana": "admin",
        "its password is in": str(secrets / "admin_password"),
    }


def _front(state: Path) -> tuple[bytes, list[bytes]]:
    """The certificate, and nginx's generated files."""
    certificate_file = state / "secrets" / "tls.crt"
    pem = certificate_file.read_bytes() if certificate_file.exists() else b""
    return pem, [path.read_bytes() for path in sorted((state / "nginx").glob("*.conf"))]


def _renew_front(running: Stack, before: tuple[bytes, list[bytes]], now: tuple[bytes, list[bytes]]) -> None:
    """Have an nginx that runs take what changed. A mounted file that was replaced is seen by a new container only."""
    if before[0] != now[0]:
        running.run("up", "--detach", "--no-deps", "--no-build", "--force-recreate", "nginx")
    elif before[1] != now[1]:
        running.reload_nginx()


def write_environment(state: Path, running: Stack) -> None:
    """For whoever calls Compose: `docker compose --env-file docker/state/compose.env -f docker/compose.yaml`."""
    given = dict(running.environment) | {"COMPOSE_PROFILES": ",".join(running.profiles)}
    if running.project:
        given["COMPOSE_PROJECT_NAME"] = running.project
    with disk_errors(state):
        state.chmod(0o755)  # the containers' user backs it up; `secrets` in it stays closed to others
        write_atomic(state / "compose.env", "".join(f"{name}='{value}'\n" for name, value in given.items()))


def down(options: Options, volumes: bool) -> None:
    """Stop and remove the containers; with `volumes` also all that they keep. Raises BadInput without Docker."""
    everything = replace(stack(options), profiles=("*",))
    everything.run("down", *(["--volumes"] if volumes else []))


def check_room(engine: Engine, options: Options, running: Stack) -> None:
    """Raises BadInput."""
    memory = sum(MEMORY.get(name, 0) for name in ("", *options.profiles))
    if engine.memory < memory:
        what = f"has {engine.memory / GB:.0f} GB of memory, these profiles need {memory / GB:.0f}"
        raise BadInput("docker", what, "fewer profiles (--profile), or a larger machine")
    there = running.containers()
    if "nginx" in there and there["nginx"]["State"] == "running":
        return
    for name, port in (("--http-port", options.http_port), ("--https-port", options.https_port)):
        if reason := _taken(options.bind, port):
            remedy = f"end the program that uses it, or choose another: {name} {8000 + port % 1000}"
            raise BadInput(name, f"{port} on {options.bind} cannot be used: {reason}", remedy)
    disk = sum(DISK.get(name, 0) for name in ("", *options.profiles))
    if not there and Path(engine.root).exists() and (free := shutil.disk_usage(engine.root).free) < disk:
        what = f"has {free / GB:.1f} GB free for images and volumes, these profiles need {disk / GB:.0f}"
        raise BadInput(engine.root, what, "free some space (docker system prune), or fewer profiles")


def _taken(bind: str, port: int) -> str | None:
    with contextlib.closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((bind, port))
        except PermissionError:
            return None  # an ordinary user may not; the engine may
        except OSError as error:
            return error.strerror
    return None


def _until_healthy(running: Stack, console: Console) -> None:
    """Wait for every container. Raises SnnFusionError with the log of one that ended or stays unhealthy."""
    until = time.monotonic() + HEALTHY_S
    with console.status("starting") as status:
        while True:
            waiting = {}
            for name, one in running.containers().items():
                if one["State"] == "restarting" or (one["State"] == "exited" and one["ExitCode"] != 0):
                    raise SnnFusionError(f"{name} ended with exit code {one['ExitCode']}:\n{_log(running, name)}")
                if one["State"] != "exited" and (now := condition(name, one)) not in GOOD:
                    waiting[name] = now
            if not waiting:
                return
            status.update(f"waiting for {', '.join(sorted(waiting))}")
            if time.monotonic() > until:
                name = min(waiting)
                raise SnnFusionError(f"{name} is {waiting[name]} after {HEALTHY_S:.0f} s:\n{_log(running, name)}")
            time.sleep(2)


def _log(running: Stack, name: str) -> str:
    with contextlib.suppress(SnnFusionError, subprocess.SubprocessError):
        return running.run("logs", "--no-color", "--tail", "30", name)
    return "(no log)"
