"""The service of the network that lies beside this file. `bentoml serve` starts it; SNN_FUSION_SERVE_... settles it."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["SNN_FUSION_SERVE_MODEL"] = str(HERE / "model")

from snn_fusion.serving.service import SnnFusion  # noqa: E402

__all__ = ["SnnFusion"]
