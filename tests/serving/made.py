"""Recordings for the service's tests, made from a seed, and how a client writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from snn_fusion.config import load_params
from snn_fusion.data.recording import EVENT, SENSES, Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding.encoder import encode_together, inputs, with_taps
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import Graph, initial_generator
from snn_fusion.workspace import project_root

PARAMS = load_params(project_root() / "params.yaml")
CODE = PARAMS.encoding
CLASSES = tuple("0123456789")
MSGPACK = {"Content-Type": "application/msgpack"}


def graph(seed: int = 1) -> Graph:
    """A network that is small but has all senses, a recurrent layer and spikes everywhere."""
    sizes: dict[Sense, int] = {"audio": 60, "events": 50, "imu": 40}
    params = PARAMS.network.model_copy(update={"branch": sizes, "joint": 70, "recurrent": ["joint"]})
    made = FusionNetwork({s: inputs(CODE, s) for s in SENSES}, len(CLASSES), params, generator=initial_generator(seed))
    made.scale_to(taps(recording(99)), 1, 1.0)
    for weights in (*made.input.values(), *made.joint.values(), *made.recurrent.values()):
        weights.data = (weights.data * 512).round() / 512  # as training leaves them: sums are then exact
    return Graph(made, CODE, CLASSES, "", "", {})


def taps(signals: Mapping[Sense, Signal]) -> dict[Sense, Spikes]:
    """What the network takes, by the encoders of training."""
    return {sense: with_taps(one, CODE) for sense, one in encode_together(signals, CODE)[0].items()}


def recording(seed: int, *senses: Sense, seconds: float = 1.0) -> dict[Sense, Signal]:
    """All senses, or these; every seed another."""
    rng = np.random.default_rng(seed)
    made: dict[Sense, Signal] = {
        "audio": sound(rng, 8000, seconds),
        "events": camera(rng, round(2000 * seconds), seconds),
        "imu": pen(rng, round(100 * seconds), seconds),
    }
    return {s: made[s] for s in senses or SENSES}


def sound(rng: np.random.Generator, rate: int, seconds: float) -> Audio:
    t = np.arange(round(rate * seconds)) / rate
    tones = sum(
        np.sin(2 * np.pi * f * t) * (t % p < p / 2)
        for f, p in zip(rng.uniform(90, 3700, 3), (0.2, 0.3, 0.5), strict=True)
    )
    return Audio(np.round(0.2 * tones + rng.normal(0, 0.02, len(t)), 4).clip(-1, 1).astype(np.float32), rate)


def camera(rng: np.random.Generator, count: int, seconds: float, side: int = 34) -> Events:
    events = np.zeros(count, EVENT)
    events["t"] = np.sort(rng.integers(0, round(1e6 * seconds), count))
    for axis in ("x", "y"):
        events[axis] = rng.normal(side * rng.uniform(0.3, 0.7), side / 8, count).clip(0, side - 1)
    events["p"] = rng.integers(0, 2, count)
    return Events(events, side, side)


def pen(rng: np.random.Generator, count: int, seconds: float) -> Imu:
    t = np.linspace(0, 1e6 * seconds, count, endpoint=False).astype(np.int64)
    channels = CODE.imu.channels
    phases = t[:, None] * 2e-6 * np.pi * rng.uniform(0.5, 3, len(channels)) + rng.uniform(0, 6, len(channels))
    values = (np.array([0.8, 0.8, 20, 1.2]) * np.sin(phases)).round(4).astype(np.float32)
    return Imu(t, values, tuple(c.name for c in channels), tuple(c.unit for c in channels))


def as_json(signals: Mapping[Sense, Signal]) -> dict[str, Any]:
    """Lists of numbers."""
    return {sense: _sent(signal, lambda values, _: values.tolist()) for sense, signal in signals.items()}


def packed(signals: Mapping[Sense, Signal]) -> dict[str, Any]:
    """Little-endian bytes, for MessagePack."""
    return {s: _sent(signal, lambda values, dtype: values.astype(dtype).tobytes()) for s, signal in signals.items()}


def _sent(signal: Signal, array: Any) -> dict[str, Any]:
    match signal:
        case Audio():
            return {"samples": array(signal.samples, "<f4"), "rate": signal.rate}
        case Events():
            found = {k: array(signal.events[k], w) for k, w in {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}.items()}
            return {**found, "width": signal.width, "height": signal.height}
        case Imu():
            columns = {name: array(signal.values[:, i], "<f4") for i, name in enumerate(signal.channels)}
            return {"t": array(signal.t, "<i8"), "channels": columns}


def cut(signals: Mapping[Sense, Signal], first_us: float, last_us: float) -> dict[Sense, Signal]:
    """The part of a recording between two times."""
    return {sense: _part(signal, first_us, last_us) for sense, signal in signals.items()}


def _part(signal: Signal, first_us: float, last_us: float) -> Signal:
    match signal:
        case Audio():
            first, last = (int(min(us, 1e12) * signal.rate / 1e6) for us in (first_us, last_us))
            return Audio(signal.samples[first:last], signal.rate)
        case Events():
            first, last = signal.events["t"].searchsorted([first_us, last_us])
            return Events(signal.events[first:last], signal.width, signal.height)
        case Imu():
            first, last = signal.t.searchsorted([first_us, last_us])
            return Imu(signal.t[first:last], signal.values[first:last], signal.channels, signal.units)


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what may differ between two answers to the same recording: the time that they took."""
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "cached")}


def encoded(content: Any) -> bytes:
    return msgspec.json.encode(content)
