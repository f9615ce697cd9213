"""Each layer of a compiled network by itself, on the spikes that the reference sends it.

In the whole network, a spike that rounding has moved moves others in the layers after it, and soon nothing can be said
about those. A layer that is given the reference's own spikes shows its own errors alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.targets.contract import Array, Artefact, Rounded
from snn_fusion.targets.populations import Population, Reset
from snn_fusion.targets.synapses import arrive, filled

OWN = "{}.own"  # the input that takes the place of a population's spikes in its own connections


def alone(artefact: Artefact, name: str) -> Artefact:
    """The artefact of one population: the sources of its connections have become inputs."""
    meta = artefact.meta
    one, sizes = meta["populations"][name], dict(meta["inputs"])
    inputs = {next(iter(sizes)): next(iter(sizes.values()))}  # says how many steps there are, if it has no other input
    sizes |= {other: meta["populations"][other]["size"] for other in meta["order"]}
    ways = []
    for way in one["incoming"]:
        source = OWN.format(name) if way["source"] == name else way["source"]
        ways.append({**way, "source": source})
        if way["source"] in sizes:  # a bias of the chip's own is no input
            inputs[source] = sizes[way["source"]]
    layer = {"inputs": inputs, "order": [name], "output": name, "populations": {name: {**one, "incoming": ways}}}
    return Artefact(artefact.target, {**meta, **layer}, artefact.arrays)


def inputs_of(layer: Artefact, name: str, sent: Mapping[str, Array]) -> dict[str, Array]:
    """What the reference sends to a layer: inputs and spikes (n, T, channels) by source."""
    own = OWN.format(name)
    return {source: sent[name if source == own else source] for source in layer.meta["inputs"]}


def potential(one: Population, reset: Reset, reset_delay: int, sent: Mapping[str, Array], fired: Array) -> Array:
    """Potentials (n, T, N) of a population that is reset where the reference `fired` (n, T, N), whatever its own
    parameters would make of it."""
    n, steps = fired.shape[:2]
    current = np.zeros((n, steps, one.size))
    for c in one.incoming:
        rows = filled(c.weights.indptr, c.weights.indices, c.weights.data.astype(np.float64), one.size)
        arrive(sent[c.source], 0, c.delay, *rows, current)
    remembers = one.spikes and bool((one.decay > 0).any())
    u, arrived, found = np.zeros((n, one.size)), np.zeros((n, one.size)), np.zeros(fired.shape)
    for t in range(steps):
        arrived = one.current_decay * arrived + current[:, t]
        taken = np.zeros(u.shape)
        if t and remembers and reset != "none":
            spiked = fired[:, t - 1] > 0
            if reset == "zero":
                u = np.where(spiked, 0, u)
            else:
                taken = np.where(spiked, one.threshold if reset_delay else one.decay * one.threshold, 0)
        u = one.decay * u - taken + arrived + one.bias
        found[:, t] = u
    return found


def moves(
    exact: Population, near: Rounded, reset: tuple[Reset, int], sent: Mapping[str, Array], fired: Array, u: Array
) -> Array:
    """How far, at most, a chip's stated resolution moves the potentials `u` (n, T, N) and the threshold, in the
    network's own unit. `reset`: what it does, and how many steps later."""
    steps, one = u.shape[1], near.population
    lasts = np.minimum(1 / np.maximum(1 - one.decay, 1e-9), steps)  # steps that a potential keeps what it lost
    feeds = np.where(one.current_decay > 0, np.minimum(1 / np.maximum(1 - one.current_decay, 1e-9), steps), 0)
    found: Array = np.abs(potential(one, *reset, sent, fired) - u) + near.lose * lasts * (1 + feeds)
    found += np.abs(one.threshold - exact.threshold)
    return found
