"""Recordings that begin late: the same thing after rest, as each sensor reports rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snn_fusion.data.origin import earlier
from snn_fusion.data.recording import EVENT, Audio, Events, Imu, Signal


def late(signal: Signal, us: int, noise: float = 1.0, seed: int = 0) -> Signal:
    """The signal after `us` of rest: faint noise of a microphone, stray events of a camera, an IMU that lies still.

    `noise` times 0.0005 of full scale, 300 events a second, 0.01 of the IMU's units.
    """
    if not us:
        return signal
    rng = np.random.default_rng(seed)
    match signal:
        case Audio(samples, rate):
            rest = 0.0005 * noise * rng.standard_normal(round(us * rate / 1e6))
            return Audio(np.concatenate([rest, samples]).astype(np.float32), rate)
        case Events(_, width, height):
            rest = np.zeros(max(round(300 * noise * us / 1e6), 1), EVENT)
            rest["t"] = np.sort(rng.integers(0, us, len(rest)))
            rest["t"][0] = 0  # the recording begins with its first event
            rest["x"], rest["y"] = rng.integers(0, width, len(rest)), rng.integers(0, height, len(rest))
            rest["p"] = rng.integers(0, 2, len(rest))
            return replace(signal, events=np.concatenate([rest, earlier(signal, -us).events]))
        case Imu(_, values):
            times = np.arange(0, us, 10_000)
            rest = 0.01 * noise * rng.standard_normal((len(times), values.shape[1]))
            later = earlier(signal, -us)
            return replace(
                signal, t=np.concatenate([times, later.t]), values=np.concatenate([rest, values], dtype=np.float32)
            )
