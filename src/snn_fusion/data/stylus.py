"""A virtual stylus: what an inertial sensor in the pen would have felt while these strokes were written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Imu
from snn_fusion.data.unipen import Stroke

SPEED_FLOOR = 0.03  # m/s, 3 tablet units of pendigits a sample: below, rounding to whole units hides the direction
CHANNELS = ("acc_x", "acc_y", "turn_rate", "contact")
UNITS = ("m/s^2", "m/s^2", "rad/s", "1")


def stylus_imu(strokes: Sequence[Stroke]) -> Imu:
    """Acceleration, rate of turning and contact, causal: a sample depends on no later point.

    Velocity v and acceleration a are backward differences over the samples' own times,

        v_k = (p_k - p_{k-1}) / (t_k - t_{k-1}),   a_k = (v_k - v_{k-1}) / (t_k - t_{k-1}),   v_0 = a_0 = 0,

    so that integrating a twice gives the pen's path back. One sample (10 ms) after the last point of a stroke comes
    one with contact 0 in the same place; at the next landing v is the mean velocity through the air. turn_rate is the
    angle from the last known direction of movement, in (-pi, pi], over the time since then; a direction is known
    where the speed is at least SPEED_FLOOR, elsewhere turn_rate is 0. x points right, y up, turning left is positive.
    """
    time, place, contact = _samples(strokes)
    seconds = np.diff(time) * 1e-6  # (n - 1,)
    velocity = np.zeros_like(place)  # (n, 2)
    velocity[1:] = np.diff(place, axis=0) / seconds[:, None]
    acceleration = np.zeros_like(place)
    acceleration[1:] = np.diff(velocity, axis=0) / seconds[:, None]
    values = np.column_stack([acceleration, _turn_rate(time, velocity), contact])
    return Imu(time, values.astype(np.float32), CHANNELS, UNITS)


def _samples(
    strokes: Sequence[Stroke],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times in us (n,), places in m (n, 2) and contact (n,), with a contact-0 sample after each stroke."""
    times, places, contacts, start = [], [], [], 0
    for stroke in strokes:
        n, step = len(stroke.points), stroke.sample_us
        times.append(start + step * np.arange(n + 1, dtype=np.int64))
        places.append(np.vstack([stroke.points, stroke.points[-1:]]))
        contacts.append(np.append(np.ones(n), 0.0))
        start += step * (n - 1) + max(stroke.gap_us, 2 * step)
    return np.concatenate(times), np.concatenate(places), np.concatenate(contacts)


def _turn_rate(time: npt.NDArray[np.int64], velocity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rate = np.zeros(len(time))
    known = np.flatnonzero(np.hypot(velocity[:, 0], velocity[:, 1]) >= SPEED_FLOOR)
    direction = np.arctan2(velocity[known, 1], velocity[known, 0])
    turn = np.pi - (np.pi - np.diff(direction)) % (2 * np.pi)  # wrapped to (-pi, pi]
    rate[known[1:]] = turn / (np.diff(time[known]) * 1e-6)
    return rate
