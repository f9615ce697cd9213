"""A recording: one labelled event in the world, with up to three senses on one clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Sense = Literal["audio", "events", "imu"]
SENSES: tuple[Sense, ...] = get_args(Sense)

MAX_EVENTS = 100_000_000  # 1.3 GB; bits of vectors and runs of zeros pack many more into a small file
MAX_SIDE = 4096  # pixels; the largest event sensors have a third of this. A damaged header may say anything

# t in microseconds of the file's own clock; p is 0 (darker) or 1 (brighter).
EVENT = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])


@dataclass(frozen=True)
class Audio:
    """Mono sound: `samples` float32 (n,) in [-1, 1], `rate` in samples a second.

    `remarks` of every signal say what was unusual about its file and how it was read.
    """

    samples: npt.NDArray[np.float32]
    rate: int
    remarks: tuple[str, ...] = ()

    @property
    def duration_us(self) -> int:
        return round(1e6 * len(self.samples) / self.rate)


@dataclass(frozen=True)
class Events:
    """Event camera: `events` (n,) of dtype EVENT with non-decreasing t, on a sensor of `width` x `height` pixels."""

    events: npt.NDArray[np.void]
    width: int
    height: int
    remarks: tuple[str, ...] = ()

    @property
    def duration_us(self) -> int:
        return int(self.events["t"][-1]) + 1 if len(self.events) else 0


@dataclass(frozen=True)
class Imu:
    """Tactile/IMU: `values` float32 (n, channels) at times `t` (us, increasing), with channel names and units."""

    t: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def duration_us(self) -> int:
        return int(self.t[-1]) + 1 if len(self.t) else 0

    def only(self, names: Collection[str]) -> Imu:
        """Without the channels that have other names."""
        kept = [i for i, name in enumerate(self.channels) if name in names]
        channels, units = (tuple(of[i] for i in kept) for of in (self.channels, self.units))
        return Imu(self.t, self.values[:, kept], channels, units, self.remarks)


Signal = Audio | Events | Imu
