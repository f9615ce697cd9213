"""The targets by name, in the order in which they are shown; dags/retrain.py names them too."""

from typing import get_args

from snn_fusion.config_types import TargetName

NAMES: tuple[str, ...] = get_args(TargetName)
AKIDA = ("akida", "akida2")  # whose licence forbids publishing figures
TITLES = {"loihi2": "Loihi 2", "akida": "Akida", "akida2": "Akida 2", "spinnaker": "SpiNNaker"}
