"""How much a chip may lose against the float network on the same recordings."""

from __future__ import annotations

ENOUGH = 200  # recordings, from which a share of them is meaningful


def allowed(recordings: int, max_drop: float) -> int:
    """Right answers that may be lost: the share `max_drop`, or one where there are fewer than 200 recordings."""
    return int(max_drop * recordings + 1e-9) if recordings >= ENOUGH else 1
