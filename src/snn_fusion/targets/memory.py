"""What lowering a graph takes of memory, compared with what there is, before anything of that size is made."""

from __future__ import annotations

import psutil

from snn_fusion.control_group import memory
from snn_fusion.errors import BadInput

A_SYNAPSE = 200  # bytes: parameter in 64 bits, sparse rows before and after its neuron's gain, chip's numbers
SMALL = 256 << 20  # bytes that are not asked about


def available() -> int:
    """Bytes that this process may still take: what the machine has left, and what its control group has."""
    found = int(psutil.virtual_memory().available)
    if group := memory():
        used, limit = group
        found = min(found, limit - used)
    return found


def check_synapses(where: str, count: int, what: str) -> None:
    """Raises BadInput if so many synapses or parameters, once lowered, do not fit into memory."""
    needed = A_SYNAPSE * count
    if needed > SMALL and needed > (there := available()):
        found = f"{what}: lowering needs about {needed / 1e9:,.1f} GB, {there / 1e9:,.1f} GB of memory are available"
        raise BadInput(where, found, "use a machine with more memory, or a smaller layer")
