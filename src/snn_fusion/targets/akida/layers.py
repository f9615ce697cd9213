"""Akida runs a chain of layers: populations of one depth lie side by side in one, those they hear in the one before."""

from __future__ import annotations

from snn_fusion.targets.populations import Program


def depths(program: Program) -> dict[str, int]:
    """Layer of each input (0) and population; unlike `Program.depth`, a delayed connection counts too."""
    found = dict.fromkeys(program.inputs, 0)
    for one in program:
        found[one.name] = 1 + max((found.get(c.source, 0) for c in one.incoming), default=0)
    return found


def chain(program: Program) -> list[list[str]]:
    """Names by layer, the inputs first."""
    depth = depths(program)
    return [[name for name, at in depth.items() if at == i] for i in range(max(depth.values()) + 1)]
