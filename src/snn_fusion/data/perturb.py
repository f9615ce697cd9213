"""Physical damage and variation of raw recordings: noise for the test conditions, perturbed copies for training.

Everything here is a pure function of a signal and a random generator, and happens before encoding, as in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import EVENT, Audio, Events, Imu, Signal

Rng = np.random.Generator
NoiseLevel = Literal["n1", "n2", "n3"]


@dataclass(frozen=True)
class Noise:
    """How hard each sense is hit."""

    snr_db: float  # white noise against the mean power of the recording
    drop: float  # probability that an event is lost
    background: float  # expected false events a pixel and encoding step
    imu_std: float  # Gaussian noise, in standard deviations of each channel of the recording


NOISE: dict[NoiseLevel, Noise] = {
    "n1": Noise(10.0, 0.5, 0.005, 0.3),
    "n2": Noise(5.0, 0.7, 0.01, 0.6),
    "n3": Noise(0.0, 0.85, 0.02, 1.0),
}


def add_noise(signal: Signal, noise: Noise | NoiseLevel, rng: Rng, step_ms: float) -> Signal:
    """The signal under noise, of the same length and type."""
    noise = NOISE[noise] if isinstance(noise, str) else noise
    match signal:
        case Audio():
            return _white_noise(signal, noise.snr_db, rng)
        case Events():
            return _background(_drop(signal, noise.drop, rng), noise.background / (step_ms * 1000), rng)
        case Imu():
            sigma = noise.imu_std * signal.values.std(axis=0)
            noisy = signal.values + sigma * rng.standard_normal(signal.values.shape)
            return replace(signal, values=noisy.astype(np.float32))


def vary(signal: Signal, rng: Rng, step_ms: float) -> Signal:
    """A plausible other recording of the same thing: another voice, hand or place, and often some noise."""
    match signal:
        case Audio():
            varied: Signal = _colour(_resample(signal, math.exp(rng.uniform(-0.22, 0.22))), rng.uniform(-0.6, 0.6, 2))
        case Events():
            varied = _affine(signal, rng)
        case Imu():
            varied = _other_hand(signal, rng)
    if rng.random() < 0.4:
        return varied
    drop = rng.uniform(0, 0.85)
    noise = Noise(rng.uniform(0, 20), drop, 0.02 * rng.random() * drop / 0.85, rng.uniform(0, 1))
    return add_noise(varied, noise, rng, step_ms)


def _white_noise(signal: Audio, snr_db: float, rng: Rng) -> Audio:
    power = float(np.mean(signal.samples.astype(np.float64) ** 2))
    sigma = math.sqrt(power * 10 ** (-snr_db / 10))
    noisy = signal.samples + sigma * rng.standard_normal(len(signal.samples))
    return replace(signal, samples=noisy.astype(np.float32))


def _resample(signal: Audio, speed: float) -> Audio:
    """Faster and higher (speed > 1) or slower and lower, as another vocal tract would be."""
    n = max(int(len(signal.samples) / speed), 1)
    positions = np.arange(n) * speed
    samples = np.interp(positions, np.arange(len(signal.samples)), signal.samples)
    return replace(signal, samples=samples.astype(np.float32))


def _colour(signal: Audio, taps: npt.NDArray[np.float64]) -> Audio:
    """Another microphone or room: a short random filter, y[n] = x[n] + taps[0] * x[n - 1] + taps[1] * x[n - 2]."""
    filtered = np.convolve(signal.samples, [1.0, *taps])[: len(signal.samples)]
    return replace(signal, samples=filtered.astype(np.float32))


def _drop(signal: Events, probability: float, rng: Rng) -> Events:
    return replace(signal, events=signal.events[rng.random(len(signal.events)) >= probability])


def _background(signal: Events, rate: float, rng: Rng) -> Events:
    """False events, Poisson with `rate` a pixel and microsecond, over the time that the recording lasts."""
    duration = signal.duration_us
    count = rng.poisson(rate * duration * signal.width * signal.height)
    false = np.empty(count, EVENT)
    false["t"] = rng.integers(0, max(duration, 1), count)
    false["x"] = rng.integers(0, signal.width, count)
    false["y"] = rng.integers(0, signal.height, count)
    false["p"] = rng.integers(0, 2, count)
    return _sorted(signal, np.concatenate([signal.events, false]))


def _random_map(rng: Rng, size: float) -> npt.NDArray[np.float64]:
    """A random linear map of the plane: turned by up to 14 degrees, slanted, scaled by up to `size` (log), squeezed."""
    angle, slant, squeeze = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(-0.15, 0.15)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[math.exp(squeeze), slant], [0.0, math.exp(-squeeze)]])
    found: npt.NDArray[np.float64] = math.exp(rng.uniform(-size, size)) * turn @ shear
    return found


def _affine(signal: Events, rng: Rng) -> Events:
    """Seen from elsewhere: mapped about the centre, shifted by up to 8 % of the sensor, 10 % faster or slower."""
    size = np.array([[signal.width], [signal.height]])
    shift, speed = rng.uniform(-0.08, 0.08, (2, 1)) * size, math.exp(rng.uniform(-0.1, 0.1))
    # jitter within the pixel, so that scaling up leaves no regular holes
    place = np.stack([signal.events["x"], signal.events["y"]]) + rng.random((2, len(signal.events)))
    moved = np.floor(_random_map(rng, 0.15) @ (place - size / 2) + size / 2 + shift)
    inside = ((moved >= 0) & (moved < size)).all(axis=0)
    events = signal.events[inside].copy()
    events["x"], events["y"] = moved[:, inside]
    events["t"] = events["t"] / speed
    return _sorted(signal, events)


def _sorted(signal: Events, events: npt.NDArray[np.void]) -> Events:
    return replace(signal, events=events[np.argsort(events["t"], kind="stable")])


def _other_hand(signal: Imu, rng: Rng) -> Imu:
    """Another hand: faster or slower by up to 40 %, of another size and slant.

    Channels `*_x` and `*_y` of one prefix are a plane and are mapped together. Accelerations (m/s^2) follow the
    square of the speed, rates (rad/s) the speed; other channels keep their values.
    """
    speed, plane = math.exp(rng.uniform(-0.35, 0.35)), _random_map(rng, 0.35)
    values = signal.values.copy()
    for column, (name, unit) in enumerate(zip(signal.channels, signal.units, strict=True)):
        partner = name[:-2] + "_y"
        if name.endswith("_x") and partner in signal.channels:
            pair = [column, signal.channels.index(partner)]
            values[:, pair] = values[:, pair] @ plane.T
        values[:, column] *= {"m/s^2": speed**2, "rad/s": speed}.get(unit, 1.0)
    t = np.round(signal.t / speed).astype(np.int64)
    return replace(signal, t=t, values=values)
