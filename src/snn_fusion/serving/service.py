"""The BentoML service: one process, one mounted application. `snn-fusion serve` starts it."""

from __future__ import annotations

import bentoml

from snn_fusion.serving.app import create
from snn_fusion.serving.load import challenger, load
from snn_fusion.serving.settings import Settings

app = create(Settings.from_environment(), load, challenger)


@bentoml.asgi_app(app, path="/")
@bentoml.service(name="snn-fusion", workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class SnnFusion:
    """The champion, answering raw recordings of a microphone, an event camera and a tactile/IMU sensor."""
