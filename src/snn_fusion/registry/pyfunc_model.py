"""The registered model as MLflow runs it: this file is logged as it is, so that nothing is ever unpickled.

Where SNN-Fusion is not installed, the package's source that was logged with the model is used.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

BATCH = 256  # recordings run at once: bounds memory


class FusionModel(PythonModel):
    """Rows as `registry.frame` has them -> `label`, and `potential`: the readout's, in the order of the classes."""

    def load_context(self, context: PythonModelContext) -> None:
        if importlib.util.find_spec("snn_fusion") is None:
            sys.path.append(context.artifacts["source"])
        from snn_fusion.network.graph import load_graph

        self.graph = load_graph(Path(context.artifacts["graph"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        parts = [self._answer(model_input.iloc[i : i + BATCH]) for i in range(0, len(model_input), BATCH)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"label": [], "potential": []})

    def _answer(self, frame: pd.DataFrame) -> pd.DataFrame:
        from snn_fusion.encoding.encoder import channels, with_taps
        from snn_fusion.network.fusion import decide
        from snn_fusion.registry.frame import from_frame

        network, encoding = self.graph.network, self.graph.encoding
        inputs = {
            sense: with_taps(from_frame(frame, sense, encoding.steps, channels(encoding, sense)), encoding)
            for sense in network.senses
        }
        potential = network.run(inputs, len(frame)).potential[:, -1]
        labels = [self.graph.classes[k] for k in decide(potential)]
        return pd.DataFrame({"label": labels, "potential": list(potential.astype("float64"))})


set_model(FusionModel())
