"""A signal in chunks of any size gives the spikes of the whole, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snn_fusion.config import load_params
from snn_fusion.data.recording import Audio, Events, Imu, Signal
from snn_fusion.encoding.encoder import Stream, encode
from snn_fusion.workspace import project_root
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


@pytest.mark.parametrize("make", MAKERS)
@given(data=st.data(), seed=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_chunks_of_any_size_give_the_spikes_of_the_whole(make, data, seed: int) -> None:
    signal = make(seed)
    n = length(signal)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=12)))
    stream = Stream(signal, CODE)
    edges = zip([0, *cuts], [*cuts, n], strict=True)
    rows = [stream.push(part(signal, first, last)) for first, last in edges]
    found = np.concatenate([*rows, stream.close()])
    np.testing.assert_array_equal(found, encode(signal, CODE).dense().astype(bool))


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
@given(size=st.integers(1, 3000))
@example(size=1)
@settings(max_examples=8, deadline=None)
def test_sound_of_any_rate_may_come_in_packets_of_any_size(rate: int, size: int) -> None:
    signal = a_sound(1, 0.2 if size == 1 else 1.3, rate)
    stream = Stream(signal, CODE)
    n = length(signal)
    rows = [stream.push(part(signal, i, i + size)) for i in range(0, n, size)]
    found = np.concatenate([*rows, stream.close()])
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
    np.testing.assert_array_equal(np.concatenate(rows), encode(signal, CODE).dense()[:5].astype(bool))
