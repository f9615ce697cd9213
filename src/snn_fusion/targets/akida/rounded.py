"""The nearest numbers that Akida holds, as the scale of each layer states them, for `targets.near_threshold`."""

from __future__ import annotations

from dataclasses import replace

from snn_fusion.targets.contract import Artefact, Rounded, nearest
from snn_fusion.targets.populations import Connection, Program


def rounded(program: Program, artefact: Artefact) -> dict[str, Rounded]:
    found = {}
    for one in program:
        unit = 1 / artefact.meta["populations"][one.name]["scale"]

        def near(connection: Connection, unit: float = unit) -> Connection:
            weights = connection.weights.copy()
            weights.data = nearest(weights.data, unit)
            return replace(connection, weights=weights)

        changed = replace(one, bias=nearest(one.bias, unit), incoming=tuple(map(near, one.incoming)))
        found[one.name] = Rounded(changed, unit)
    return found
