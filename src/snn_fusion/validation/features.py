"""A recording as a few hundred plain numbers, and when it sets in: enough to judge labels and clocks by.

Nothing here is what the network sees. The numbers are independent of the encoders on purpose, so that a fault in
labels or clocks is not mistaken for one of the encoding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Audio, Events, Imu, Signal

Floats = npt.NDArray[np.float64]

FRAME_S = 0.02
BANDS, LOW_HZ, HIGH_HZ = 20, 100.0, 4000.0
SEGMENTS = 10  # of a recording's own duration
TRIMMED_DB = 30.0  # below the loudest frame: before the first and after the last of those, sound is left out
GRID, PARTS = 10, 4  # cells a side of the sensor, and parts of the duration
ONSET_S = 0.005  # resolution of an onset
ONSET_SHARE = 0.2  # of the largest activity


def features(signal: Signal) -> Floats:
    """What happens when, with level and duration taken out: (n,), n the same for all recordings of one kind."""
    if isinstance(signal, Audio):
        return _sound(signal)
    if isinstance(signal, Events):
        return _picture(signal)
    return _movement(signal)


def _sound(audio: Audio) -> Floats:
    """Log power of each band in each tenth of the sounding part, less their mean."""
    size = max(int(FRAME_S * audio.rate), 8)
    frames = _frames(audio.samples.astype(np.float64), size) * np.hanning(size)  # (frames, size)
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(LOW_HZ, min(HIGH_HZ, audio.rate / 2), BANDS + 1) * size / audio.rate
    bins = np.arange(spectrum.shape[1])
    overlap = np.clip(np.minimum(bins + 0.5, edges[1:, None]) - np.maximum(bins - 0.5, edges[:-1, None]), 0, None)
    power = 10 * np.log10(spectrum @ overlap.T + 1e-10)  # (frames, bands)
    loud = np.flatnonzero(power.max(1) > power.max() - TRIMMED_DB)
    segments = _segments(power[loud[0] : loud[-1] + 1], SEGMENTS)
    return np.asarray(segments - segments.mean()).ravel()


def _picture(recording: Events) -> Floats:
    """Square root of the share of events in each cell of the sensor, in each quarter of the time."""
    events = recording.events
    t = events["t"] - events["t"][0]
    part = np.minimum(PARTS * t // (int(t[-1]) + 1), PARTS - 1)
    x, y = (np.minimum(events[a].astype(np.int64) * GRID // side, GRID - 1) for a, side in _sides(recording))
    cells = np.bincount((part * GRID + y) * GRID + x, minlength=PARTS * GRID * GRID)
    return np.sqrt(cells / max(len(events), 1))


def _sides(recording: Events) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("x", recording.width), ("y", recording.height)


def _movement(imu: Imu) -> Floats:
    """Each channel and its integral in each tenth of the time, in units of their own rms, and the share of each rms."""
    values = imu.values.astype(np.float64)
    integral = np.cumsum(values * np.gradient(imu.t / 1e6)[:, None] if len(values) > 1 else values, axis=0)
    parts, levels = [], []
    for trace in (values, integral):
        rms = np.sqrt((trace**2).mean(0)) + 1e-12
        parts.append(_segments(trace / rms, SEGMENTS).ravel())
        levels.append(np.log(rms) - np.log(rms).mean())
    return np.concatenate([*parts, *levels])


def onset_s(signal: Signal) -> float:
    """Seconds until the signal first reaches a fifth of its largest activity; NaN if nothing ever changes.

    Activity is a sound's amplitude, a camera's events, an IMU's distance from its value at rest (the first sample),
    each in steps of 5 ms.
    """
    activity, times = _activity(signal)
    if not len(activity) or activity.max() <= 1e-9:
        return float("nan")
    return float(times[np.argmax(activity >= ONSET_SHARE * activity.max())])


def _activity(signal: Signal) -> tuple[Floats, npt.NDArray[np.floating[Any]]]:
    """Activity (n,), and when each of it began, s (n,)."""
    if isinstance(signal, Audio):
        size = max(int(ONSET_S * signal.rate), 1)
        power = (_frames(signal.samples.astype(np.float64), size) ** 2).mean(1)
        return np.asarray(np.sqrt(power), np.float64), np.arange(len(power)) * (size / signal.rate)
    if isinstance(signal, Events):
        counts = np.bincount((signal.events["t"] // int(1e6 * ONSET_S)).astype(np.int64)).astype(np.float64)
        return counts, np.arange(len(counts)) * ONSET_S
    apart = np.abs(signal.values.astype(np.float64) - signal.values[0])
    return np.asarray((apart / (apart.max(0) + 1e-12)).max(1), np.float64), signal.t * 1e-6


def _frames(samples: Floats, size: int) -> Floats:
    """(frames, size) of the samples, the last frame filled up with silence."""
    count = max(-(-len(samples) // size), 1)
    return np.pad(samples, (0, count * size - len(samples))).reshape(count, size)


def _segments(values: Floats, count: int) -> Floats:
    """Means of (n, channels) over `count` equal parts of n: (count, channels)."""
    ends = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    at = np.linspace(0, len(values), count + 1)
    whole = np.stack([np.interp(at, np.arange(len(values) + 1), column) for column in ends.T], axis=1)
    return np.diff(whole, axis=0) / (len(values) / count)
