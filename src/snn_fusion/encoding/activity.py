"""How much goes on in a signal, hop by hop: the energy of a sound, the events of a camera, the movement of an IMU.

The onset of a recording is found from it, and how much of a recording lies in the window. A hop is 5 ms, whatever a
step is. The same numbers to the bit, however a signal was cut.

The kernels keep the interpreter's lock: for some seconds of a signal each takes less time than to have it back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Audio, Events, Imu, Signal

HOP_US = 5_000
MOST = 3_600_000_000 // HOP_US  # hops of an hour; what comes later counts as in the last of them
BASELINE_US = 100_000  # time constant of what a movement is measured against
REACH_S = 0.1  # within which a steady acceleration must reach the first threshold of its integral

Float64 = npt.NDArray[np.float64]


class Activity:
    """`push` gives the hops that are over: `energy` summed over the hop, and the weight that makes it a mean.

    audio: squares about the hop's mean, weight samples. events: their count, weight 1. imu: squared distance of a
    sample from the mean of the last 0.1 s, of the channel that moved most, in units of what the encoder shows at
    least; weight samples. `end_us` is where the signal ends so far.
    """

    def __init__(self, params: EncodingParams) -> None:
        self.end_us, self.hops = 0, 0
        self._params = params
        self._samples = 0  # of a sound, in the hops that are over
        self._rest = np.zeros(0, np.float32)  # of a sound, after them
        self._rate = 0
        self._open: Float64 | None = None  # (1, 2), energy and weight of the hop that is not over
        self._baseline = np.zeros(0)
        self._last_us = -1

    def push(self, part: Signal) -> Float64:
        """(k, 2): energy and weight of the hops that are over with this part."""
        match part:
            case Audio():
                return self._sound(part)
            case Events():
                return self._stamped(part.events["t"], np.ones(len(part.events)), np.zeros(len(part.events)), 1.0)
            case Imu():
                return self._stamped(part.t, self._movement(part), np.ones(len(part.t)), 0.0)

    def close(self) -> Float64:
        """The hop that was not over, if anything lies in it."""
        if len(self._rest):
            out: Float64 = _about_mean(self._rest, np.array([len(self._rest)]))
        else:
            out = np.zeros((0, 2)) if self._open is None else self._open
        self._rest, self._open = self._rest[:0], None
        self.hops += len(out)
        return out

    def _sound(self, part: Audio) -> Float64:
        self._rate = part.rate
        waiting = np.concatenate([self._rest, part.samples])
        have, per_hop = self._samples + len(waiting), part.rate * HOP_US / 1e6
        self.end_us = round(1e6 * have / part.rate)
        over = min(int(have / per_hop + 1e-9), MOST)
        ends = np.round(np.arange(self.hops + 1, over + 1) * per_hop).astype(np.int64) - self._samples
        out: Float64 = _about_mean(waiting, ends)
        last = int(ends[-1]) if len(ends) else 0
        self._samples, self._rest, self.hops = self._samples + last, waiting[last:], over
        if over == MOST:
            self._samples, self._rest = self._samples + len(self._rest), self._rest[:0]
        return out

    def _stamped(self, t: npt.NDArray[np.int64], energy: Float64, weight: Float64, of_hop: float) -> Float64:
        """`weight` of each sample, and `of_hop` without any."""
        if not len(t):
            return np.zeros((0, 2))
        self.end_us = int(t[-1])
        over = max(min(self.end_us // HOP_US, MOST - 1), self.hops)
        found = np.zeros((over - self.hops + 1, 2))
        found[:, 1] = of_hop
        if self._open is not None:
            found[0] = self._open[0]
        hop = np.clip(np.minimum(t // HOP_US, MOST - 1) - self.hops, 0, len(found) - 1)
        _add_up(hop, energy, weight, found)
        self._open, self.hops = found[-1:].copy(), over
        return found[:-1]

    def _movement(self, part: Imu) -> Float64:
        units = movement_units(self._params)
        moved = [i for i, name in enumerate(part.channels) if name in units]
        unit = np.array([units[part.channels[i]] for i in moved])
        values = np.ascontiguousarray(part.values[:, moved], np.float64)
        if self._last_us < 0 and len(values):
            self._baseline = values[0].copy()
        out = _distance(part.t, values, unit, self._baseline, self._last_us) if len(values) else np.zeros(0)
        self._last_us = int(part.t[-1]) if len(part.t) else self._last_us
        return out


def movement_units(params: EncodingParams) -> dict[str, float]:
    """By IMU channel, the least change that the encoder shows, within REACH_S where it codes an integral."""
    least = min((abs(one) for one in params.imu.thresholds if one), default=1.0)
    reach = {"level": least, "delta": 1.0, "integral": least / REACH_S, "integral2": least / REACH_S**2}
    return {one.name: min(reach[code] * scale for code, scale in one.codes.items()) for one in params.imu.channels}


@njit(cache=True)
def _about_mean(samples, ends):  # type: ignore[no-untyped-def]
    """(k, 2) between consecutive `ends`: sum of squares about the mean, and samples."""
    out = np.zeros((len(ends), 2))
    start = 0
    for hop in range(len(ends)):
        n = ends[hop] - start
        mean = 0.0
        for i in range(start, ends[hop]):
            mean += samples[i]
        mean /= max(n, 1)
        for i in range(start, ends[hop]):
            out[hop, 0] += (samples[i] - mean) ** 2
        out[hop, 1] = n
        start = ends[hop]
    return out


@njit(cache=True)
def _add_up(hop, energy, weight, out):  # type: ignore[no-untyped-def]
    for i in range(len(hop)):
        out[hop[i], 0] += energy[i]
        out[hop[i], 1] += weight[i]


@njit(cache=True)
def _distance(t, values, unit, baseline, last_us):  # type: ignore[no-untyped-def]
    """(n,) squared; `baseline` (channels,) is carried on."""
    out = np.zeros(len(t))
    for i in range(len(t)):
        before = t[i - 1] if i else last_us
        follow = 1 - np.exp(-(t[i] - before) / BASELINE_US) if before >= 0 else 1.0
        for c in range(values.shape[1]):
            apart = values[i, c] - baseline[c]
            out[i] = max(out[i], (apart / unit[c]) ** 2)
            baseline[c] += follow * apart
    return out
