"""Tactile/IMU to spikes: each channel, its leaky integrals and its changes, coded by level."""

from __future__ import annotations

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


def encode(signal: Imu, params: EncodingParams) -> npt.NDArray[np.bool_]:
    """(steps, channels) of spikes, from each channel's value at the end of each step.

    `level` codes the value, `integral` and `integral2` its leaky integral over time once and twice (acceleration
    gives velocity and position), each in multiples of the code's scale: above a positive threshold or below a
    negative one spikes (a thermometer to both sides, silent at rest). `delta` spikes when the value rose or fell by
    the scale since its last such spike. A plane codes the direction of two channels' integrals (of movement), in
    overlapping sectors, whatever its speed above the floor. Causal; silent after the last sample.

    Raises BadInput if the recording lacks a channel of `encoding.imu.channels` or has it in another unit.
    """
    values = select(signal, params)  # (samples, channels)
    at = _last_sample(signal.t, params)
    parts = []
    integrals: dict[str, npt.NDArray[np.float64]] = {}
    for column, channel in enumerate(params.imu.channels):
        value = np.ascontiguousarray(values[:, column], np.float64)
        once = _integrate(signal.t, value, params.imu.leak_s)
        integrals[channel.name] = once[at]
        derived = {
            "level": value,
            "integral": once,
            "integral2": _integrate(signal.t, once, params.imu.leak_s),
        }
        for code, scale in channel.codes.items():
            if code == "delta":
                parts.append(_changes(value[at], scale))
            else:
                parts.append(_thermometer(derived[code][at] / scale, np.asarray(params.imu.thresholds)))
    for plane in params.imu.planes:
        parts.append(_direction(integrals[plane.x], integrals[plane.y], plane.directions, plane.floor))
    spikes = np.zeros((params.steps, channels(params)), bool)
    spikes[: len(at)] = np.concatenate(parts, axis=1)
    return spikes


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


def _last_sample(t: npt.NDArray[np.int64], params: EncodingParams) -> npt.NDArray[np.int64]:
    """Index of the last sample before the end of each step that the recording fills (a sample is held)."""
    step_us = params.step_ms * 1000
    steps = min(int(t[-1] // step_us) + 1, params.steps)
    last = np.searchsorted(t, np.arange(1, steps + 1) * step_us, side="left") - 1
    return np.maximum(last, 0)


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
def _integrate(t, value, leak_s):  # type: ignore[no-untyped-def]
    """Leaky integral, by the backward rectangle rule on the real time stamps (us); unit x s."""
    out, total = np.empty_like(value), 0.0
    for i in range(len(t)):
        dt = (t[i] - t[i - 1]) * 1e-6 if i else 0.0
        total = total * np.exp(-dt / leak_s) + value[i] * dt
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def _changes(value, delta):  # type: ignore[no-untyped-def]
    out, reference = np.zeros((len(value), 2), np.bool_), 0.0
    for step in range(len(value)):
        if abs(value[step] - reference) >= delta:
            out[step, 0 if value[step] > reference else 1] = True
            reference = value[step]
    return out
