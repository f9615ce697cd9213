"""Akida runs a chain of layers: populations of one depth lie side by side in one, those they hear in the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scipy.sparse import csr_array

from snn_fusion.targets.populations import Connection, Population, Program


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


def merged(program: Program) -> Program:
    """Connections that meet the same spikes added up: between two neurons the chip has one synapse."""
    return replace(program, populations=tuple(_merged(one) for one in program))


def _merged(one: Population) -> Population:
    ways: dict[tuple[str, int], csr_array[Any, Any]] = {}
    for c in one.incoming:
        before = ways.get((c.source, c.delay))
        ways[c.source, c.delay] = c.weights if before is None else csr_array(before + c.weights)
    return replace(one, incoming=tuple(Connection(s, weights, delay) for (s, delay), weights in ways.items()))
