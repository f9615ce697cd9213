"""The shapes of the synthetic digits and the people who speak and write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

Points = npt.NDArray[np.float64]

# Strokes of each digit in a unit box, x to the right and y up. A repeated point is a corner; between corners the
# curve is smooth, and a piece that ends where it began is closed.
GLYPHS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "0": (((0.5, 1.0), (0.2, 0.75), (0.2, 0.25), (0.5, 0.0), (0.8, 0.25), (0.8, 0.75), (0.5, 1.0)),),
    "1": (((0.28, 0.74), (0.55, 1.0), (0.55, 1.0), (0.55, 0.0)),),
    "2": (((0.2, 0.75), (0.32, 0.96), (0.6, 0.98), (0.78, 0.78), (0.6, 0.45), (0.15, 0), (0.15, 0), (0.85, 0)),),
    "3": (
        (
            *((0.2, 0.9), (0.5, 1.0), (0.76, 0.8), (0.65, 0.6), (0.42, 0.53), (0.42, 0.53)),
            *((0.72, 0.45), (0.83, 0.22), (0.55, 0.0), (0.15, 0.1)),
        ),
    ),
    "4": (((0.58, 1.0), (0.12, 0.33), (0.12, 0.33), (0.88, 0.33)), ((0.64, 0.62), (0.62, 0.0))),
    "5": (
        ((0.28, 1.0), (0.24, 0.55), (0.24, 0.55), (0.55, 0.62), (0.8, 0.35), (0.6, 0.04), (0.18, 0.05)),
        ((0.28, 1.0), (0.8, 1.0)),
    ),
    "6": (((0.68, 1), (0.35, 0.7), (0.2, 0.3), (0.38, 0.02), (0.7, 0.06), (0.78, 0.3), (0.52, 0.46), (0.24, 0.28)),),
    "7": (((0.15, 1.0), (0.85, 1.0), (0.85, 1.0), (0.55, 0.5), (0.4, 0.0)),),
    "8": (
        (
            *((0.5, 0.53), (0.75, 0.76), (0.5, 1.0), (0.25, 0.76), (0.5, 0.53)),
            *((0.8, 0.26), (0.5, 0.0), (0.2, 0.26), (0.5, 0.53)),
        ),
    ),
    "9": (
        (
            *((0.76, 0.76), (0.5, 1.0), (0.24, 0.76), (0.5, 0.52), (0.76, 0.76), (0.76, 0.76)),
            *((0.72, 0.35), (0.52, 0.0)),
        ),
    ),
}
LABELS = tuple(GLYPHS)


@dataclass(frozen=True)
class Person:
    """What stays the same in one subject's recordings."""

    pitch_hz: float  # mean fundamental frequency of the voice
    tract: float  # formant frequencies relative to an adult man's
    pace: float  # of speech and writing, relative
    loudness: float  # peak sound pressure at the head, relative to full scale
    slant: float  # shear of the hand, x for y
    size: float  # of the hand, relative

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Person:
        tract = rng.uniform(0.92, 1.18)
        return cls(
            # A shorter vocal tract goes with a higher voice.
            pitch_hz=115.0 * float(np.exp(2.6 * (tract - 1.0) + rng.normal(0, 0.1))),
            tract=tract,
            pace=rng.uniform(0.85, 1.2),
            loudness=rng.uniform(0.12, 0.6),
            slant=rng.uniform(-0.1, 0.3),
            size=rng.uniform(0.85, 1.15),
        )


def draw_glyph(label: str, person: Person, rng: np.random.Generator) -> list[Points]:
    """One handwritten instance of a digit: its strokes, each (n, 2), centred on 0 and about 1 high.

    Points lie about 0.01 apart.
    """
    aspect, turn = rng.uniform(0.6, 0.85), rng.normal(0, 0.06)
    slant = person.slant + rng.normal(0, 0.04)
    shear = np.array([[aspect, slant], [0.0, 1.0]])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    strokes = []
    for control in GLYPHS[label]:
        points = np.array(control) - 0.5
        moved = rng.normal(0, 0.025, points.shape)
        repeated = np.flatnonzero(~np.any(np.diff(points, axis=0), axis=1)) + 1
        moved[repeated] = moved[repeated - 1]  # corners stay corners
        strokes.append(_curve(points + moved) @ (person.size * rotation @ shear).T)
    return strokes


def _curve(control: Points) -> Points:
    """A dense curve through the control points, smooth except at repeated ones."""
    corners = np.flatnonzero(~np.any(np.diff(control, axis=0), axis=1)) + 1
    pieces = []
    for piece in np.split(control, corners):
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(piece, axis=0).T))])
        spline = CubicSpline(length, piece, bc_type="natural") if len(piece) > 2 else None
        at = np.linspace(0.0, length[-1], max(2, round(length[-1] / 0.01)))
        if spline is None:
            pieces.append(piece[0] + (piece[1] - piece[0]) * (at / length[-1])[:, None])
        else:
            pieces.append(spline(at))
    return np.concatenate(pieces)
