"""Strokes of a contour felt by the inertial sensor of a stylus.

The hand slows down in curves (two-thirds power law, Lacquaniti et al. 1983: speed ~ curvature^(-1/3)) and starts and
stops each stroke with bounded acceleration.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from snn_fusion.data.recording import Imu
from snn_fusion.data.synthetic_glyph import Person, Points

CHANNELS, UNITS = ("acc_x", "acc_y", "turn_rate", "contact"), ("m/s^2", "m/s^2", "rad/s", "1")
SAMPLE_US = 10_000
HEIGHT = 0.024  # m, of a digit
SPEED = 0.14  # m/s, where the radius of curvature is RADIUS
RADIUS = 0.006  # m
START = 10.0  # m/s^2, acceleration at the ends of a stroke
HAND_S = 0.008  # s, the hand's low-pass
SLOW = 0.03  # m/s, below which a direction of movement means little
NOISE = np.array([0.03, 0.03, 0.3])  # of acceleration (m/s^2) and turn rate (rad/s), standard deviations


def feel(strokes: list[Points], person: Person, rng: np.random.Generator) -> Imu:
    """Acceleration of the tip (m/s^2), turning rate of its path (rad/s) and contact (0 or 1), 100 samples/s."""
    pace = person.pace * rng.uniform(0.85, 1.15)
    parts = [_timed(s * HEIGHT, pace) for s in strokes]
    place, touching = _joined(parts, pace)
    place = gaussian_filter1d(place, HAND_S * 1000, axis=0, mode="nearest")
    velocity = np.gradient(place, 1e-3, axis=0)
    acceleration = np.gradient(velocity, 1e-3, axis=0)
    cross = velocity[:, 0] * acceleration[:, 1] - velocity[:, 1] * acceleration[:, 0]
    turn = cross / (np.sum(velocity**2, axis=1) + SLOW**2)

    every = SAMPLE_US // 1000
    motion = np.column_stack([acceleration, turn])[::every]
    motion += rng.normal(0, NOISE, motion.shape)
    values = np.column_stack([motion, touching[::every]]).astype(np.float32)
    return Imu(np.arange(len(values), dtype=np.int64) * SAMPLE_US, values, CHANNELS, UNITS)


def _timed(stroke: Points, pace: float) -> Points:
    """The stroke (m) sampled every millisecond of its writing: (n, 2)."""
    step = np.hypot(*np.diff(stroke, axis=0).T)
    stroke, step = stroke[np.concatenate([[True], step > 0])], step[step > 0]
    s = np.concatenate([[0.0], np.cumsum(step)])
    heading = np.unwrap(np.arctan2(*np.diff(stroke, axis=0).T[::-1]))
    curvature = np.abs(np.gradient(gaussian_filter1d(heading, 3, mode="nearest"))) / step
    law = SPEED * (RADIUS * curvature + 0.15) ** (-1 / 3)
    middle = (s[1:] + s[:-1]) / 2
    bound = np.sqrt(2 * START * np.minimum(middle, s[-1] - middle))
    t = np.concatenate([[0.0], np.cumsum(step / (np.minimum(law, bound) * pace))])
    at = np.arange(0.0, t[-1], 1e-3)
    return np.column_stack([np.interp(at, t, stroke[:, 0]), np.interp(at, t, stroke[:, 1])])


def _joined(parts: list[Points], pace: float) -> tuple[Points, Points]:
    """Rest, stroke, flight to the next stroke, ..., rest: places (n, 2) each millisecond and contact (n,)."""
    rest = 30
    places, touching = [np.repeat(parts[0][:1], rest, axis=0)], [np.zeros(rest)]
    for k, part in enumerate(parts):
        if k:
            start = places[-1][-1]
            n = round(1000 * (0.08 + np.hypot(*(part[0] - start)) / 0.4) / pace)
            u = np.linspace(0, 1, n)[:, None]
            # Minimum jerk between two points (Flash and Hogan 1985).
            places.append(start + (part[0] - start) * (10 * u**3 - 15 * u**4 + 6 * u**5))
            touching.append(np.zeros(n))
        places.append(part)
        touching.append(np.ones(len(part)))
    places.append(np.repeat(parts[-1][-1:], rest, axis=0))
    touching.append(np.zeros(rest))
    return np.concatenate(places), np.concatenate(touching)
