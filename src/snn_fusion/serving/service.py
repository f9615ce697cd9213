"""The BentoML service: one process, one mounted application. `snn-fusion serve` starts it."""

from __future__ import annotations

from typing import Any, cast

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from snn_fusion.serving.app import create
from snn_fusion.serving.load import load
from snn_fusion.serving.settings import Settings


class Alone:
    """Requests go past BentoML's router, whose own pages (/docs.json, /schema.json) would answer beside ours."""

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self.app, self.ours = app, ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.app if scope["type"] == "lifespan" else self.ours)(scope, receive, send)


app = create(Settings.from_environment(), load)


@bentoml.asgi_app(app, path="/")
@bentoml.service(name="snn-fusion", workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class SnnFusion:
    """The champion, answering raw recordings of a microphone, an event camera and a tactile/IMU sensor."""


cast(Any, SnnFusion).add_asgi_middleware(Alone, ours=app)
