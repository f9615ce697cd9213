"""An event camera that sees a bright contour move in three saccades, as N-MNIST was recorded.

Pixel after Lichtsteiner et al. (2008) and the simulator of Rebecq et al. (ESIM, 2018): an event when log intensity
has changed by a threshold since the pixel's last event, pixels that differ a little, a refractory period, and
background events.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from snn_fusion.data.recording import EVENT
from snn_fusion.data.synthetic_glyph import Person, Points

SIZE = 34  # pixels, both ways
FINE = 4  # the scene's raster has so many cells a pixel
MARGIN = 6  # pixels of scene around the sensor's view
GLYPH_HEIGHT = 19.0  # pixels
STEP_US = 2000
SACCADE_US = 102_000
CONTRAST = 12.0  # brightest / darkest intensity
THRESHOLD, MISMATCH = 0.32, 0.04  # log intensity
REFRACTORY_US = 3000
BACKGROUND_HZ = 0.5  # a pixel

Frame = npt.NDArray[np.float64]


def watch(strokes: list[Points], person: Person, rng: np.random.Generator) -> npt.NDArray[np.void]:
    """Events (n,) of dtype EVENT, sorted by time, of a contour (strokes in units of its height)."""
    width = rng.uniform(0.9, 1.4)  # half the width of a stroke, pixels
    scene = _scene([s * GLYPH_HEIGHT for s in strokes], rng.normal(0, 0.6, 2), width)
    path = _saccades(person, rng)
    threshold = np.maximum(rng.normal(THRESHOLD, MISMATCH, (SIZE, SIZE)), 0.1)
    seen = _crossings(scene, path, threshold)
    return _with_background(seen, len(path) * STEP_US, rng)


def _scene(strokes: list[Points], centre: Points, half_width: float) -> Frame:
    """Log intensity on a raster FINE times as dense as the pixels, MARGIN wider on each side."""
    n = (SIZE + 2 * MARGIN) * FINE
    dark = np.ones((n, n), dtype=bool)
    for stroke in strokes:
        cell = ((stroke * [1, -1] + centre + SIZE / 2 + MARGIN) * FINE).astype(np.int64).clip(0, n - 1)
        dark[cell[:, 1], cell[:, 0]] = False
    distance = np.asarray(distance_transform_edt(dark)) / FINE  # pixels
    bright = 1 / (1 + np.exp((distance - half_width) / 0.35))
    return np.log1p((CONTRAST - 1) * bright)


def _saccades(person: Person, rng: np.random.Generator) -> Points:
    """Offset of the view in pixels at each step: around a triangle, each side one smooth movement."""
    corners = np.array([[0.0, 0.0], [3.2, 5.0], [6.4, 0.0], [0.0, 0.0]]) - [3.2, 2.5]
    corners[:3] += rng.normal(0, 0.25, (3, 2))
    steps = round(SACCADE_US / STEP_US * rng.uniform(0.92, 1.08) / person.pace**0.3)
    smooth = 0.5 - 0.5 * np.cos(np.pi * np.arange(steps) / steps)
    return np.concatenate([a + (b - a) * smooth[:, None] for a, b in itertools.pairwise(corners)])


def _view(scene: Frame, offset: Points) -> Frame:
    """What the pixels see at an offset (pixels): (SIZE, SIZE), bilinear between the scene's cells."""
    (x, y), (fx, fy) = ((MARGIN + offset) * FINE).astype(int), ((MARGIN + offset) * FINE) % 1
    span = SIZE * FINE
    near, far = slice(y, y + span, FINE), slice(y + 1, y + 1 + span, FINE)
    left, right = slice(x, x + span, FINE), slice(x + 1, x + 1 + span, FINE)
    above = scene[near, left] * (1 - fx) + scene[near, right] * fx
    below = scene[far, left] * (1 - fx) + scene[far, right] * fx
    return np.asarray(above * (1 - fy) + below * fy)


def _crossings(scene: Frame, path: Points, threshold: Frame) -> npt.NDArray[np.void]:
    """Threshold crossings along the path, at most one a pixel and step; times interpolated within the step."""
    before = _view(scene, path[0])
    reference, last = before.copy(), np.full(before.shape, -REFRACTORY_US, dtype=np.int64)
    found = []
    for k in range(1, len(path)):
        now = _view(scene, path[k])
        change = now - reference
        y, x = np.nonzero((np.abs(change) >= threshold) & (k * STEP_US - last >= REFRACTORY_US))
        rise = now[y, x] - before[y, x]
        missing = np.sign(change[y, x]) * threshold[y, x] - (before[y, x] - reference[y, x])
        with np.errstate(divide="ignore", invalid="ignore"):  # a pixel that waited may not change in this step
            share = np.nan_to_num(missing / rise, nan=0.0, posinf=0.0, neginf=0.0).clip(0, 1)
        events = np.empty(len(x), dtype=EVENT)
        events["t"] = np.maximum((k - 1 + share) * STEP_US, last[y, x] + REFRACTORY_US)
        events["x"], events["y"], events["p"] = x, y, change[y, x] > 0
        reference[y, x], last[y, x], before = now[y, x], events["t"], now
        found.append(events)
    return np.concatenate(found)


def _with_background(events: npt.NDArray[np.void], duration_us: int, rng: np.random.Generator) -> npt.NDArray[np.void]:
    n = rng.poisson(BACKGROUND_HZ * SIZE * SIZE * duration_us / 1e6)
    noise = np.empty(n, dtype=EVENT)
    noise["t"] = rng.integers(0, duration_us, n)
    noise["x"], noise["y"], noise["p"] = rng.integers(0, SIZE, n), rng.integers(0, SIZE, n), rng.integers(0, 2, n)
    both = np.concatenate([events, noise])
    return np.asarray(both[np.argsort(both["t"], kind="stable")])


def nmnist_bytes(events: npt.NDArray[np.void]) -> bytes:
    """N-MNIST's file layout: five bytes an event, x, y, polarity bit and 23 bits of time (us), big-endian."""
    out = np.empty((len(events), 5), dtype=np.uint8)
    t = events["t"]
    out[:, 0], out[:, 1] = events["x"], events["y"]
    out[:, 2] = (events["p"].astype(np.int64) << 7) | (t >> 16)
    out[:, 3], out[:, 4] = t >> 8 & 0xFF, t & 0xFF
    return out.tobytes()
