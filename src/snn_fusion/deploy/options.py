"""What differs between installations of the stack, kept in docker/state/stack.json between two runs of `up`."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from snn_fusion.deploy.secret_files import user_id
from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors, project_root, write_atomic

NAME = "stack.json"
PROFILES = ("pipeline", "celery", "monitoring", "logging", "backup")  # besides the core, which always runs
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
SUBNET = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}")


def state_folder() -> Path:
    """Secrets, certificate, nginx's generated files: $SNN_FUSION_STATE, else docker/state in the checkout."""
    return Path(os.environ.get("SNN_FUSION_STATE") or project_root() / "docker" / "state").resolve()


class Options(BaseModel):
    """`host`: the name that clients use; `bind`: the address of this machine on which nginx is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "localhost"
    bind: str = "0.0.0.0"
    http_port: int = 80
    https_port: int = 443
    profiles: tuple[str, ...] = ("pipeline",)
    data: str = ""  # a folder with a mirror of the public recordings
    backups: str = ""  # a folder for backups, preferably of another disk; a volume of the engine without it
    second: str = ""  # a folder for copies of them, preferably of another machine
    akida: bool = False  # its user agrees to Akida's licence
    subnet: str = "172.31.240"  # the first three numbers of the network between nginx and the service
    metrics_from: tuple[str, ...] = ()  # networks that may read /metrics
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For names the client
    rate: int = 500  # requests a second of one address

    @classmethod
    def load(cls, state: Path) -> Self:
        """As the last `up` left them; the defaults where there was none. Raises BadInput."""
        path = state / NAME
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes()).checked()
        except ValidationError as error:
            problem = f"cannot be used: {error.errors()[0]['msg']}"
            raise BadInput(path, problem, "delete it and give the options again") from None

    def save(self, state: Path) -> None:
        with disk_errors(state):
            write_atomic(state / NAME, self.model_dump_json(indent=1) + "\n")

    def changed(self, **given: Any) -> Self:
        """With the options that were given (not None). Raises BadInput."""
        return self.model_copy(update={name: value for name, value in given.items() if value is not None}).checked()

    def checked(self) -> Self:
        """Raises BadInput naming the option."""
        if not HOST.fullmatch(self.host):
            raise BadInput("--host", f"{self.host!r} is not a host name", "lower case, such as snn.example.org")
        for name, port in (("--http-port", self.http_port), ("--https-port", self.https_port)):
            if not 0 < port < 65536:
                raise BadInput(name, f"is {port}", "1 ... 65535")
        if self.http_port == self.https_port:
            raise BadInput("--https-port", f"is {self.https_port}, as --http-port", "another one")
        if unknown := sorted(set(self.profiles) - set(PROFILES)):
            raise BadInput("--profile", f"{', '.join(unknown)} is not known", f"of {', '.join(PROFILES)}")
        for network in (*self.metrics_from, *self.trusted_proxies):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise BadInput("network", str(error), "for instance 10.0.0.0/8") from None
        if not SUBNET.fullmatch(self.subnet) or any(int(one) > 255 for one in self.subnet.split(".")):
            raise BadInput("--subnet", f"is {self.subnet!r}", "three numbers of a private network, such as 172.31.240")
        if self.data and not Path(self.data).is_dir():
            raise BadInput("--data", f"{self.data}: no such folder", "a folder with fsdd/, nmnist/ and pendigits/")
        for name, folder in (("--backups", self.backups), ("--second", self.second)):
            _check_folder(name, folder)
        if self.rate < 1:
            raise BadInput("--rate", f"is {self.rate}", "1 or more requests a second")
        return self

    @property
    def origin(self) -> str:
        """Scheme, host and port of all addresses."""
        return f"https://{self.host}{'' if self.https_port == 443 else f':{self.https_port}'}"

    def environment(self, state: Path, tag: str) -> dict[str, str]:
        """What compose.yaml asks for. No secret is among it."""
        folders = {"DATA_DIR": self.data, "BACKUPS": self.backups, "SECOND": self.second}
        return {
            "SNN_FUSION_STATE": str(state),
            "SNN_FUSION_TAG": tag,
            "SNN_FUSION_ORIGIN": self.origin,
            "SNN_FUSION_BIND": f"{self.bind}:",
            "SNN_FUSION_HTTP_PORT": str(self.http_port),
            "SNN_FUSION_HTTPS_PORT": str(self.https_port),
            "SNN_FUSION_SUBNET": self.subnet,
            "SNN_FUSION_EXECUTOR": "CeleryExecutor" if "celery" in self.profiles else "LocalExecutor",
            "SNN_FUSION_STATSD": str("monitoring" in self.profiles),
            "SNN_FUSION_TRACES": str(bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))),
            "SNN_FUSION_ARCHIVE": "yes" if "backup" in self.profiles else "no",
            "SNN_FUSION_BACKUP_BY": "container" if "backup" in self.profiles else "",
            "AKIDA": "yes" if self.akida else "no",
            **{f"SNN_FUSION_{name}": folder for name, folder in folders.items() if folder},
        }


def _check_folder(name: str, folder: str) -> None:
    """Raises BadInput if the containers could not write to it."""
    if not folder:
        return
    if not Path(folder).is_dir():
        raise BadInput(name, f"{folder}: no such folder", "mount the disk, or make the folder")
    if (owner := Path(folder).stat().st_uid) != user_id():
        problem = f"{folder} belongs to user {owner}, and the containers run as user {user_id()}"
        raise BadInput(name, problem, f"chown {user_id()} {folder}")
