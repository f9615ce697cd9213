"""The network a step at a time answers as the network does, however its input is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_fusion.config import load_params
from snn_fusion.encoding.encoder import channels, inputs, with_taps
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import Graph, initial_generator
from snn_fusion.network.live import Live
from snn_fusion.workspace import project_root

PARAMS = load_params(project_root() / "params.yaml")
CODE, SENSES, STEPS = PARAMS.encoding, ("audio", "events", "imu"), PARAMS.encoding.steps
CLASSES = tuple("abcd")


def recording(seed: int, *senses: str) -> dict[str, Spikes]:
    rng = np.random.default_rng(seed)
    made = {s: rng.random((STEPS, channels(CODE, s))) < 0.05 for s in SENSES}
    return {s: Spikes.from_dense(made[s]) for s in senses or SENSES}


def network(recurrent: tuple[str, ...] = ()) -> Graph:
    params = PARAMS.network.model_copy(
        update={"branch": {"audio": 60, "events": 50, "imu": 40}, "joint": 70, "recurrent": recurrent}
    )
    sizes = {s: inputs(CODE, s) for s in SENSES}
    made = FusionNetwork(sizes, len(CLASSES), params, generator=initial_generator(1))
    made.scale_to({s: with_taps(one, CODE) for s, one in recording(99).items()}, 1, 1.0)
    for weights in (*made.input.values(), *made.joint.values(), *made.recurrent.values()):
        weights.data = (weights.data * 512).round() / 512  # as training leaves them: sums are then exact
    return Graph(made, CODE, CLASSES, "", "", {})


@pytest.mark.parametrize("recurrent", [(), ("audio", "joint")])
@pytest.mark.parametrize("senses", [("audio",), ("events", "imu"), SENSES])
def test_potentials_and_spikes_of_each_step_are_the_networks(recurrent, senses) -> None:
    graph, given_to_it = network(recurrent), recording(3, *senses)
    live = Live(graph)
    state = live.rest()
    found = live.advance(state, given_to_it, STEPS)
    wanted = graph.network.run({s: with_taps(one, CODE) for s, one in given_to_it.items()}, 1)
    np.testing.assert_allclose(found, wanted.potential[0], rtol=1e-5, atol=1e-5)
    assert state.spikes == {name: int(one.sum()) for name, one in wanted.spikes.items()}
    assert state.spikes["joint"] > 100


@given(cuts=st.lists(st.integers(0, STEPS), max_size=8), seed=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_chunks_of_any_size_give_the_potentials_of_the_whole_to_the_bit(cuts, seed) -> None:
    live, given_to_it = LIVE, recording(seed)
    whole = live.advance(live.rest(), given_to_it, STEPS)
    state, parts = live.rest(), []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), STEPS], strict=True):
        parts.append(live.advance(state, {s: one.part(first, last) for s, one in given_to_it.items()}, last - first))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert state.step == STEPS


LIVE = Live(network(("imu", "joint")))
