"""The BentoML service: one process, one mounted application. `snn-fusion serve` starts it.

BentoML's supervisor imports this too, and only the process that it starts needs the application: hence the late import.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# BentoML's, for counters in files that several processes share. There is one process here, with a registry of its own;
# what is imported next looks at this.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

import bentoml
import click
from starlette.types import ASGIApp, Receive, Scope, Send

from snn_fusion.errors import BadInput
from snn_fusion.serving import logs, loopback
from snn_fusion.serving.guard import configured
from snn_fusion.serving.settings import Settings


def _checked() -> Settings:
    """The settings, with what they name. In a command of BentoML it ends with 2 before a socket is opened."""
    asked = click.get_current_context(silent=True)
    try:
        found = Settings.from_environment()
        configured(found)
        if not found.keys and asked and asked.params.get("host"):
            loopback.check_hosts([asked.params["host"]])
    except BadInput as error:
        if asked is None:
            raise
        sys.stderr.write(f"error {error}\n")
        sys.exit(error.exit_code)
    return found


# Seconds after which a thread gives the interpreter to the next: the loop that reads and writes waits for one that
# computes each time it has let go of it, and with Python's 5 ms that was most of the time that a request took.
sys.setswitchinterval(0.0005)
settings = _checked()
# BentoML's own default are all addresses; what its `--host` says goes before this.
HTTP: Any = {} if settings.keys else {"http": {"host": "127.0.0.1"}}
logs.setup()


class Outermost(bentoml.Service[Any]):
    """Only its start and end go through BentoML's application.

    That would answer some paths itself (/schema.json, /livez, what no route fits), past our guard; make spans that go
    nowhere, which took a fifth of the loop's time (ours: tracing.py); cut off whatever takes a minute, promotions
    among it; and keep a timer of each request for that minute, 40 MB at a thousand requests a second.
    """

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        import uvicorn.config

        from snn_fusion.serving import protocol
        from snn_fusion.serving.app import create
        from snn_fusion.serving.load import challenger, load

        uvicorn.config.HTTP_PROTOCOLS["auto"] = protocol.NAME  # BentoML makes uvicorn's configuration after this
        logs.setup()  # again: what was imported since has loggers too
        app = create(settings, load, challenger)
        self.mount_asgi_app(app, path="/")  # so that it starts and ends with the service
        bento = super().to_asgi(is_main)

        async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
            await (bento if scope["type"] == "lifespan" else app)(scope, receive, send)

        return outermost


@bentoml.service(name="snn-fusion", workers=1, metrics={"enabled": False}, **HTTP, service_class=Outermost)
class SnnFusion:
    """The champion, answering raw recordings of a microphone, an event camera and a tactile/IMU sensor."""
