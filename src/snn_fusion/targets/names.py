"""The targets by name, in the order in which they are shown; dags/retrain.py names them too.

What a stage must know of a target before it decides whether there is work: quick to import, as nothing else here is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from snn_fusion.config_types import TargetName
from snn_fusion.errors import BadInput
from snn_fusion.targets.akida.epochs import EPOCHS

if TYPE_CHECKING:
    from snn_fusion.config import Params

NAMES: tuple[str, ...] = get_args(TargetName)
AKIDA = ("akida", "akida2")  # whose licence forbids publishing figures
TITLES = {"loihi2": "Loihi 2", "akida": "Akida", "akida2": "Akida 2", "spinnaker": "SpiNNaker"}
TOOLCHAINS = {"loihi2": "loihi2", "akida": "akida", "akida2": "akida", "spinnaker": "spinnaker"}  # folders of SDKs
FAMILY = {"akida2": "akida"}  # targets whose program another one's tuning makes


def check_name(name: str) -> str:
    """Raises BadInput listing the targets that there are."""
    if name not in NAMES:
        raise BadInput(f"--target {name}", "there is no such target", f"there are: {', '.join(NAMES)}")
    return name


def epochs_of(family: str, params: Params) -> int:
    """Epochs that a tuning takes: a few for a network that is there, many for one that is made."""
    return EPOCHS if family == "akida" else params.targets.epochs
