"""The nearest numbers that an `IF_curr_delta` core holds, as its widths and its own computation of a decay
state them, for `targets.near_threshold`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snn_fusion.targets.contract import Array, Artefact, Rounded, nearest
from snn_fusion.targets.populations import Connection, Program
from snn_fusion.targets.spinnaker import limits
from snn_fusion.targets.spinnaker.stdfix import decay_of, tau_of

UNITS = 2.0  # of s16.15 that a step may lose: a product rounds down, and a threshold is the next unit


def rounded(program: Program, artefact: Artefact) -> dict[str, Rounded]:
    found = {}
    for one in program:
        meta = artefact.meta["populations"][one.name]
        unit, decay = 1 / meta["scale"], np.array([decay_of(tau_of(float(d))) for d in one.decay]) / limits.ONE
        leak = 1 - decay  # through which a word acts
        words = [leak * unit * 2.0**shift for shift in meta["shifts"]]
        changed = replace(
            one,
            decay=decay,
            bias=_word(one.bias, words[0], words[1]),
            incoming=tuple(_connection(c, words[0], words[1]) for c in one.incoming),
        )
        found[one.name] = Rounded(changed, UNITS * unit)
    return found


def _connection(connection: Connection, excitatory: Array, inhibitory: Array) -> Connection:
    weights, to = connection.weights.copy(), connection.weights.indices
    weights.data = _word(weights.data, excitatory[to], inhibitory[to])
    return replace(connection, weights=weights)


def _word(values: Array, excitatory: Array, inhibitory: Array) -> Array:
    return nearest(values, np.where(values > 0, excitatory, inhibitory))
