"""Time laid out in space: what a network without memory says at the last step, as a network of one step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from snn_fusion.targets.populations import Connection, Population, Program


def unroll(program: Program, steps: int) -> Program:
    """The same answer from one frame: input channel c of step t becomes channel t * C + c.

    A population is there once for each step at which something asks for it, in the order of time; those that nothing
    asks for are gone. Its neurons must have no memory.
    """
    asked: dict[str, set[int]] = {name: set() for name in (*program.inputs, *(one.name for one in program))}
    asked[program.output].add(steps - 1)
    for one in reversed(program.populations):
        for c in one.incoming:
            asked[c.source] |= {t - c.delay for t in asked[one.name] if t >= c.delay}
    times = {name: sorted(found) for name, found in asked.items()} | {name: [*range(steps)] for name in program.inputs}
    kept = [_repeated(program, one, times) for one in program if times[one.name]]
    inputs = {name: steps * channels for name, channels in program.inputs.items()}
    return replace(program, inputs=inputs, populations=tuple(kept))


def _repeated(program: Program, one: Population, times: dict[str, list[int]]) -> Population:
    """`one` side by side for each of its times."""
    here = times[one.name]
    sources = dict.fromkeys(c.source for c in one.incoming)
    incoming = tuple(Connection(name, _blocks(program, one, name, times)) for name in sources)
    fields: dict[str, Any] = {
        field: np.tile(getattr(one, field), len(here)) for field in ("decay", "current_decay", "bias", "threshold")
    }
    step = None if one.step is None else np.tile(one.step, len(here))
    return replace(one, incoming=incoming, step=step, **fields)


def _blocks(program: Program, one: Population, source: str, times: dict[str, list[int]]) -> csr_array[Any, Any]:
    """All connections from `source`, of every delay, from its times to those of `one`."""
    before, here, size = times[source], times[one.name], program.size(source)
    rows, columns, values = [], [], []
    for c in one.incoming:
        if c.source != source:
            continue
        weights = coo_array(c.weights)
        for i, t in enumerate(here):
            if t >= c.delay:
                rows.append(weights.row + before.index(t - c.delay) * size)
                columns.append(weights.col + i * one.size)
                values.append(weights.data)
    shape = (len(before) * size, len(here) * one.size)
    made = csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    made.sum_duplicates()
    return made
