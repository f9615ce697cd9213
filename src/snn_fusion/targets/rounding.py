"""Warnings of what rounding to a chip's numbers does, the same for every chip."""

from __future__ import annotations

from snn_fusion.targets.contract import Violation

TIME_CONSTANT = 0.05  # relative error of a time constant from which a warning is given
LOST_SHARE = 0.5  # of a connection's weights that round to 0, from which one is given


def time_constant(layer: str, field: str, wanted: float, on_chip: float) -> list[Violation]:
    """A decay between 0 and 1 whose time constant is off."""
    if not 0 < wanted < 1 or abs((1 - on_chip) / (1 - wanted) - 1) <= TIME_CONSTANT:
        return []
    value = f"{wanted:.6g} is {on_chip:.6g}"
    return [Violation(layer, f"time constant of {field}", f"within {TIME_CONSTANT:.0%}", value, warning=True)]


def lost_weights(layer: str, source: str, share: float) -> list[Violation]:
    """A connection of whose weights such a share vanishes."""
    if share <= LOST_SHARE:
        return []
    what = f"weights from {source} that round to zero"
    return [Violation(layer, what, f"{LOST_SHARE:.0%}", f"{share:.0%}", warning=True)]
