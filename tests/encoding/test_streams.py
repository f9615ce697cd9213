"""A signal in chunks of any size gives the spikes of the whole, to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snn_fusion.config import load_params
from snn_fusion.data.origin import earlier
from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding.encoder import Stream, encode, encode_together, sense_of
from snn_fusion.encoding.window import Window
from snn_fusion.workspace import project_root
from tests.encoding.late import late
from tests.encoding.test_encoders import a_sound, a_stroke, some_events

CODE = load_params(project_root() / "params.yaml").encoding

MAKERS = [a_sound, some_events, a_stroke]


def length(signal: Signal) -> int:
    match signal:
        case Audio():
            return len(signal.samples)
        case Events():
            return len(signal.events)
        case Imu():
            return len(signal.t)


def part(signal: Signal, first: int, last: int) -> Signal:
    here = slice(first, last)
    match signal:
        case Audio():
            return replace(signal, samples=signal.samples[here])
        case Events():
            return replace(signal, events=signal.events[here])
        case Imu():
            return replace(signal, t=signal.t[here], values=signal.values[here])


def in_parts(signals: dict[Sense, Signal], cuts: dict[Sense, list[int]]) -> dict[Sense, np.ndarray]:
    """Rows of each sense of a recording that comes in parts, the senses in turn."""
    window, found = Window(signals, CODE), {sense: [] for sense in signals}
    edges = {s: list(pairwise([0, *sorted(cuts[s]), length(one)])) for s, one in signals.items()}
    for n in range(max(map(len, edges.values()))):
        for sense, signal in signals.items():
            if n < len(edges[sense]):
                for s, rows in window.push({sense: part(signal, *edges[sense][n])}).items():
                    found[s].append(rows)
    for s, rows in window.close().items():
        found[s].append(rows)
    return {s: np.concatenate(rows) for s, rows in found.items()}


@pytest.mark.parametrize("make", MAKERS)
@given(data=st.data(), seed=st.integers(0, 20), late_us=st.sampled_from([0, 30_000, 300_000, 1_234_567]))
@settings(max_examples=25, deadline=None)
def test_chunks_of_any_size_give_the_spikes_of_the_whole(make, data, seed: int, late_us: int) -> None:
    signal = late(make(seed), late_us)
    sense = sense_of(signal)
    cuts = data.draw(st.lists(st.integers(0, length(signal)), max_size=12))
    found = in_parts({sense: signal}, {sense: cuts})[sense]
    np.testing.assert_array_equal(found, encode(signal, CODE).dense().astype(bool))


@given(
    data=st.data(),
    late_us=st.sampled_from([0, 500_000]),
    clock_us=st.sampled_from([0, 1_100_000, 1_700_000_000_000_000]),
    ahead_us=st.sampled_from([0, 1_700_000_000_000_000]),
)
@settings(max_examples=25, deadline=None)
def test_senses_that_come_in_chunks_share_the_window_of_the_whole(
    data, late_us: int, clock_us: int, ahead_us: int
) -> None:
    made = {sense_of(one): late(one, late_us) for one in (make(3) for make in MAKERS)}
    made["imu"] = earlier(made["imu"], -ahead_us)  # on a clock of its own
    whole = {sense: rows.dense() for sense, rows in encode_together(made, CODE)[0].items()}
    cuts = {s: data.draw(st.lists(st.integers(0, length(one)), max_size=6)) for s, one in made.items()}
    found = in_parts({s: earlier(one, -clock_us) for s, one in made.items()}, cuts)
    for sense, rows in whole.items():
        np.testing.assert_array_equal(found[sense], rows.astype(bool))


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
@given(size=st.integers(1, 3000))
@example(size=1)
@settings(max_examples=8, deadline=None)
def test_sound_of_any_rate_may_come_in_packets_of_any_size(rate: int, size: int) -> None:
    signal = a_sound(1, 0.2 if size == 1 else 1.3, rate)
    found = in_parts({"audio": signal}, {"audio": list(range(size, length(signal), size))})["audio"]
    np.testing.assert_array_equal(found, encode(signal, CODE).dense().astype(bool))


@pytest.mark.parametrize("make", MAKERS)
def test_a_step_is_given_out_as_soon_as_it_is_over(make) -> None:
    signal = make(2)
    stream, given_out = Stream(signal, CODE), 0
    for i in range(length(signal)):
        given_out += len(stream.push(part(signal, i, i + 1)))
        us = part(signal, 0, i + 1).duration_us - (0 if isinstance(signal, Audio) else 1)
        assert given_out == stream.steps == min(us // 20_000, CODE.steps)


@pytest.mark.parametrize("make", MAKERS)
def test_what_comes_after_the_last_step_is_left_out(make) -> None:
    code = CODE.model_copy(update={"steps": 5})
    signal = make(4)
    stream = Stream(signal, code)
    rows = [stream.push(signal), stream.push(part(signal, 0, 0)), stream.close(), stream.close()]
    assert sum(len(one) for one in rows) == 5
    whole = Stream(signal, CODE)
    np.testing.assert_array_equal(np.concatenate(rows), np.concatenate([whole.push(signal), whole.close()])[:5])
