"""Tactile/IMU to spikes: each channel, its leaky integrals and its changes, coded by level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Imu
from snn_fusion.errors import BadInput


def channels(params: EncodingParams) -> int:
    """Per channel and code: one input a threshold, or two (rising, falling) for `delta`; then the planes' sectors."""
    per_code = {"delta": 2}
    codes = [code for channel in params.imu.channels for code in channel.codes]
    scalar = sum(per_code.get(code, len(params.imu.thresholds)) for code in codes)
    return scalar + sum(plane.directions for plane in params.imu.planes)


class Stream:
    """Samples as they come in; each step's spikes are of each channel's value at its end.

    `level` codes the value, `integral` and `integral2` its leaky integral over time once and twice (acceleration
    gives velocity and position), each in multiples of the code's scale: above a positive threshold or below a
    negative one spikes (a thermometer to both sides, silent at rest). `delta` spikes when the value rose or fell by
    the scale since its last such spike. A plane codes the direction of two channels' integrals (of movement), in
    overlapping sectors, whatever its speed above the floor. Causal; silent after the last sample.
    """

    def __init__(self, params: EncodingParams) -> None:
        self.params, self.done = params, 0  # steps given out
        count = len(params.imu.channels)
        self._held: dict[str, npt.NDArray[np.float64]] = {}  # values of the last sample
        self._last_us = -1
        self._totals = np.zeros((2, count))
        self._references = np.zeros(count)

    def push(self, t: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """The steps that are over by the last sample: (k, channels) of spikes.

        `t` (n,) in us, in order and after those of the last push; `values` (n, channels of `encoding.imu`).
        """
        if not len(t):
            return np.zeros((0, channels(self.params)), bool)
        step_us = self.params.step_ms * 1000
        first, self.done = self.done, max(self.done, min(int(t[-1] // step_us), self.params.steps))
        traces = self._traces(t, values)
        at = np.searchsorted(t, np.arange(first + 1, self.done + 1) * step_us, side="left") - 1
        # A step without a sample of its own holds the one before it; before the first sample, that one.
        at = at + 1 if self._held else np.maximum(at, 0)
        traces = {key: np.concatenate([self._held.get(key, one[:0]), one]) for key, one in traces.items()}
        self._held, self._last_us = {key: one[-1:] for key, one in traces.items()}, int(t[-1])
        return self._spikes({key: one[at] for key, one in traces.items()}, len(at))

    def close(self) -> npt.NDArray[np.bool_]:
        """Nothing more comes: the step of the last sample, and those that are left, silent."""
        left = np.zeros((self.params.steps - self.done, channels(self.params)), bool)
        if self._held and len(left):
            left[:1] = self._spikes(self._held, 1)
        self.done = self.params.steps
        return left

    def _traces(self, t: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
        """By channel and code, what is coded, (n,) each: the value, and its integrals."""
        found = {}
        for i, channel in enumerate(self.params.imu.channels):
            value, leak = np.ascontiguousarray(values[:, i], np.float64), self.params.imu.leak_s
            once = _integrate(t, value, leak, self._last_us, self._totals[:1, i])
            found[f"{channel.name}.level"], found[f"{channel.name}.integral"] = value, once
            found[f"{channel.name}.integral2"] = _integrate(t, once, leak, self._last_us, self._totals[1:, i])
        return found

    def _spikes(self, at: Mapping[str, npt.NDArray[np.float64]], steps: int) -> npt.NDArray[np.bool_]:
        """(steps, channels), from what is coded at the end of each step."""
        code = self.params.imu
        parts = [np.zeros((steps, 0), bool)]
        for i, channel in enumerate(code.channels):
            for kind, scale in channel.codes.items():
                if kind == "delta":
                    parts.append(_changes(at[f"{channel.name}.level"], scale, self._references[i : i + 1]))
                else:
                    parts.append(_thermometer(at[f"{channel.name}.{kind}"] / scale, np.asarray(code.thresholds)))
        for plane in code.planes:
            x, y = at[f"{plane.x}.integral"], at[f"{plane.y}.integral"]
            parts.append(_direction(x, y, plane.directions, plane.floor))
        return np.concatenate(parts, axis=1)


def stream(signal: Imu, params: EncodingParams) -> Stream:
    """A stream for recordings like this one."""
    return Stream(params)


def select(signal: Imu, params: EncodingParams) -> npt.NDArray[np.float32]:
    """The channels of `encoding.imu.channels`, in that order: float32 (n, channels). Raises BadInput."""
    names = list(signal.channels)
    for channel in params.imu.channels:
        if channel.name not in names:
            have = ", ".join(names)
            raise BadInput("imu", f"no channel {channel.name!r}; the recording has {have}", "see encoding.imu.channels")
        unit = signal.units[names.index(channel.name)]
        if unit != channel.unit:
            problem = f"channel {channel.name!r} is in {unit!r}, encoding.imu.channels wants {channel.unit!r}"
            raise BadInput("imu", problem, "convert the recording or change the parameter")
    return signal.values[:, [names.index(c.name) for c in params.imu.channels]]


def _thermometer(value: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    above = (thresholds > 0) & (value[:, None] > thresholds)
    below = (thresholds <= 0) & (value[:, None] < thresholds)
    return above | below


def _direction(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], sectors: int, floor: float
) -> npt.NDArray[np.bool_]:
    """(steps, sectors): the direction is within a sector's width of its centre, so two neighbours spike together.

    A population code of direction, as motor cortex has one (Georgopoulos et al. 1986).
    """
    width = 2 * np.pi / sectors
    apart = np.arctan2(y, x)[:, None] - width * np.arange(sectors)
    near: npt.NDArray[np.bool_] = np.abs((apart + np.pi) % (2 * np.pi) - np.pi) < width
    return near & (np.hypot(x, y) > floor)[:, None]


@njit(cache=True, nogil=True)
def _integrate(t, value, leak_s, last_us, totals):  # type: ignore[no-untyped-def]
    """Leaky integral, by the backward rectangle rule on the real time stamps (us); unit x s.

    `totals` (1,) is carried on, from the sample at `last_us`; -1: there was none.
    """
    out, total = np.empty_like(value), totals[0]
    for i in range(len(t)):
        before = t[i - 1] if i else last_us
        dt = (t[i] - before) * 1e-6 if before >= 0 else 0.0
        total = total * np.exp(-dt / leak_s) + value[i] * dt
        out[i] = total
    totals[0] = total
    return out


@njit(cache=True, nogil=True)
def _changes(value, delta, references):  # type: ignore[no-untyped-def]
    """Send-on-delta: (steps, 2), rising and falling. `references` (1,) is carried on."""
    out, reference = np.zeros((len(value), 2), np.bool_), references[0]
    for step in range(len(value)):
        if abs(value[step] - reference) >= delta:
            out[step, 0 if value[step] > reference else 1] = True
            reference = value[step]
    references[0] = reference
    return out
