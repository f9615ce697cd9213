"""Small programs that every chip is tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from snn_fusion.targets.populations import Connection, Population, Program


def weights(source: int, target: int, spread: float, seed: int = 0) -> csr_array:
    return csr_array(np.random.default_rng(seed).standard_normal((source, target)) * spread)


def population(name: str, *incoming: Connection, **more: object) -> Population:
    size = incoming[0].weights.shape[1]
    threshold = np.full(size, more.get("threshold", 1.0))
    return Population(
        name,
        np.full(size, more.get("decay", 0.875)),
        np.full(size, more.get("current_decay", 0.0)),
        np.asarray(more.get("bias", np.zeros(size))),
        threshold,
        incoming,
    )


def readout(source: str, size: int, decay: float = 0.9375, delay: int = 0) -> Population:
    one = population("out", Connection(source, weights(size, 4, 0.3, 9), delay), decay=decay)
    return replace(one, threshold=np.full(4, np.inf), spikes=False)


def network(*populations: Population, reset: str = "zero", delay: int = 0) -> Program:
    return Program({"in": 12}, populations, populations[-1].name, 1e-3, reset, delay)


def spikes(n: int = 3, steps: int = 16) -> dict[str, np.ndarray]:
    return {"in": (np.random.default_rng(1).random((n, steps, 12)) < 0.3).astype(np.int32)}


FIRST = population("a", Connection("in", weights(12, 20, 0.5)))
CASES = {
    "feed-forward": network(FIRST, population("b", Connection("a", weights(20, 15, 0.4))), readout("b", 15)),
    "two senses of unlike weights": network(
        FIRST,
        population("b", Connection("in", weights(12, 15, 0.05))),
        population("c", Connection("a", weights(20, 10, 0.6)), Connection("b", weights(15, 10, 0.02))),
        readout("c", 10),
    ),
    "recurrent": network(
        replace(FIRST, incoming=(*FIRST.incoming, Connection("a", weights(20, 20, 0.2, 2), 1))), readout("a", 20)
    ),
    "biases": network(replace(FIRST, bias=np.linspace(-0.2, 0.2, 20)), readout("a", 20)),
    "current decay": network(replace(FIRST, current_decay=np.full(20, 0.75)), readout("a", 20)),
    "delays": network(
        replace(FIRST, incoming=(replace(FIRST.incoming[0], delay=3),)),
        population("b", Connection("a", weights(20, 10, 0.5), 2), Connection("in", weights(12, 10, 0.3, 3))),
        readout("a", 20, delay=5),
    ),
    "neurons without leak": network(replace(FIRST, decay=np.ones(20)), readout("a", 20, decay=1.0)),
    "a readout without memory": network(FIRST, readout("a", 20, decay=0.0)),
}
