"""Numbers that describe one recording: what the expectations of a sense are about.

Nothing here judges. Measurements that make no sense for a recording (the rate of an empty one) are NaN, which no
limit is applied to: another measurement of the same recording says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from snn_fusion.data.recording import Audio, Events, Imu, Signal

Measurement = float | int | str | None
FULL_SCALE = 0.999  # a 16-bit sample of 32767 is 0.99997
HELD = 3  # samples in a row at a channel's extreme; coarsely quantised slow movements hold it for two


def measure(signal: Signal) -> dict[str, Measurement]:
    """The measurements of one sense of a recording."""
    if isinstance(signal, Audio):
        return measure_audio(signal)
    if isinstance(signal, Events):
        return measure_events(signal)
    return measure_imu(signal)


def measure_audio(audio: Audio) -> dict[str, Measurement]:
    """rms is about the mean, so a constant offset counts as silence."""
    samples = audio.samples.astype(np.float64)
    finite = np.isfinite(samples)
    whole = len(samples) > 0 and bool(finite.all())
    return {
        "duration_s": audio.duration_us / 1e6,
        "rate_hz": audio.rate,
        "not_finite": int(len(samples) - finite.sum()),
        "rms": float(samples.std()) if whole else np.nan,
        "peak": float(np.abs(samples).max()) if whole else np.nan,
        "clipped_share": float(np.mean(np.abs(samples) >= FULL_SCALE)) if whole else np.nan,
    }


def measure_events(recording: Events) -> dict[str, Measurement]:
    """`backwards`, `outside` and `bad_polarity` count events; shares are of all events.

    `rarer_polarity_share` is that of darker or brighter events, whichever are fewer; `busiest_pixel_share` shows a
    hot pixel.
    """
    events, n = recording.events, len(recording.events)
    duration = recording.duration_us / 1e6
    out: dict[str, Measurement] = {
        "duration_s": duration,
        "events": n,
        "rate_hz": n / duration if duration > 0 else np.nan,
        "backwards": int(np.sum(np.diff(events["t"]) < 0)) + int(np.sum(events["t"][:1] < 0)),
        "outside": int(np.sum((events["x"] >= recording.width) | (events["y"] >= recording.height))),
        "bad_polarity": int(np.sum(events["p"] > 1)),
    }
    pixel = events["y"].astype(np.int64) * (int(events["x"].max(initial=0)) + 1) + events["x"]
    brighter = float(np.mean(events["p"] == 1)) if n else np.nan
    out["rarer_polarity_share"] = min(brighter, 1 - brighter)
    out["busiest_pixel_share"] = float(np.unique(pixel, return_counts=True)[1].max() / n) if n else np.nan
    return out


def measure_imu(imu: Imu) -> dict[str, Measurement]:
    """`rms_<channel>` for each channel besides the checks; `channels` lists names and units."""
    interval = np.diff(imu.t) / 1e6
    whole = len(imu.values) > 0 and bool(np.isfinite(imu.values).all())
    out: dict[str, Measurement] = {
        "duration_s": imu.duration_us / 1e6,
        "rate_hz": float(1 / np.median(interval)) if len(interval) and np.median(interval) > 0 else np.nan,
        "backwards": int(np.sum(interval <= 0)),
        "gap_s": float(interval.max(initial=0.0)),
        "not_finite": int(np.sum(~np.isfinite(imu.values))),
        "channels": describe_channels(imu.channels, imu.units),
        "moving_channels": int(np.sum(np.ptp(imu.values, axis=0) > 0)) if whole else np.nan,
        "saturated_share": max(map(saturated_share, imu.values.T), default=0.0) if whole else np.nan,
    }
    rms = np.sqrt(np.mean(imu.values.astype(np.float64) ** 2, axis=0)) if whole else [np.nan] * len(imu.channels)
    return out | {f"rms_{name}": float(value) for name, value in zip(imu.channels, rms, strict=True)}


def saturated_share(values: npt.NDArray[np.float32]) -> float:
    """Share of a channel's samples (n,) that stay at its largest magnitude for HELD samples or longer.

    A channel with two values, such as contact, is a switch and cannot saturate.
    """
    rail = np.abs(values).max(initial=0.0)
    if len(values) < HELD or rail == 0 or len(np.unique(values)) <= 2:
        return 0.0
    held = np.zeros(len(values), dtype=bool)
    for value in (rail, -rail):
        runs = np.asarray(
            sliding_window_view(values == value, HELD).all(axis=1)
        )  # (n - HELD + 1,), True where a run starts
        for k in range(HELD):
            held[k : k + len(runs)] |= runs
    return float(held.mean())


def describe_channels(names: Sequence[str], units: Sequence[str]) -> str:
    """`acc_x [m/s^2], contact [1]`."""
    return ", ".join(f"{name} [{unit}]" for name, unit in zip(names, units, strict=True))
