"""What makes a Bento of the service. `bentoml serve` starts ours in its place; nothing of BentoML runs then.

BentoML's own supervisor would listen on two more ports of this machine, without a password, for commands that any user
of it may send, and hand them the environment of the processes that it started (docs/security.md).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import bentoml
import click
from click.core import ParameterSource

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.processes import ALONE
from snn_fusion.serving import loopback
from snn_fusion.serving.guard import configured
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import PACKAGE

TAKEN = ("bento", "host", "port", "working_dir", "production", "development")  # options of `bentoml serve`


def instead(asked: click.Context) -> None:
    """Become our own service, with this command's host and port; end with 2 if it asks for what that has not."""
    try:
        for name, given in asked.params.items():
            settled = asked.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
            if settled and name not in TAKEN and given:
                option = f"--{name.replace('_', '-')}"
                raise BadInput(option, "is not known to this service", "--host and --port; a proxy for TLS")
        settings = Settings.from_environment()
        configured(settings)
        host = asked.params.get("host") or ("0.0.0.0" if settings.keys else "127.0.0.1")
        if not settings.keys:
            loopback.check_hosts([host])
    except BadInput as error:
        sys.stderr.write(f"error {error}\n")
        sys.exit(error.exit_code)
    source = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, *ALONE, "-m", "snn_fusion.serving.parent", "--host", host]
    command += ["--port", str(asked.params.get("port") or 3000)]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": source})


class Closed(bentoml.Service[Any]):
    """Has no application for BentoML's own server, which would answer past our guard."""

    def to_asgi(self, is_main: bool = True) -> Any:
        raise SnnFusionError("start this service with `snn-fusion serve` or `bentoml serve`, which runs the same")


@bentoml.service(name="snn-fusion", workers=1, metrics={"enabled": False}, service_class=Closed)
class SnnFusion:
    """The champion, answering raw recordings of a microphone, an event camera and a tactile/IMU sensor."""


if (command := click.get_current_context(silent=True)) is not None and command.info_name == "serve":
    instead(command)
