"""While the image is built: have numba compile what the service calls, by answering one recording; import the rest."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from snn_fusion.config import load_params
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, save_graph
from snn_fusion.registry.tracking import URI
from snn_fusion.serving.model import float_model
from snn_fusion.serving.parent import preload
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.warm import fresh

os.environ[URI] = "http://mlflow:5000/mlflow"  # the stack's registry is a server; nothing is asked of it here
preload(Settings())
params = load_params(Path("params.yaml"))
sizes = {sense: inputs(params.encoding, sense) for sense in SENSES}
network = FusionNetwork(sizes, 10, params.network, generator=initial_generator(0))
for weights in (*network.input.values(), *network.joint.values(), network.readout):
    weights.data = (weights.data * 512).round() / 512
with tempfile.TemporaryDirectory() as folder:
    save_graph(Path(folder), network, params.encoding, [str(label) for label in range(10)], {"seed": 0})
    fresh(lambda _: float_model(Path(folder), "none"), Settings())
