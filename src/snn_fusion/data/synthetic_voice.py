"""A synthetic voice heard by the two ears of a head.

Source and filter after Klatt (1980): a glottal pulse train (Rosenberg 1971) and noise, through resonators that
follow the formants of the word. Head after Brown and Duda (1998): each ear hears the sound with its own delay and
its own head shadow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter, sosfilt

from snn_fusion.data.synthetic_glyph import Person

Sound = npt.NDArray[np.float64]

RATE = 16_000  # Hz
BLOCK = 80  # samples (5 ms) over which the formants stand still
BANDWIDTHS = (70.0, 90.0, 150.0)  # Hz, of the three formants
HEAD_RADIUS = 0.0875  # m
SPEED_OF_SOUND = 343.0  # m/s


@dataclass(frozen=True)
class Phone:
    """A stretch of a word: formants in Hz, amplitude of voice and of noise (0..1), duration in seconds."""

    formants: tuple[float, float, float]
    voice: float
    noise: float
    seconds: float


# Formants of vowels: Peterson and Barney (1952), men; of consonants: rounded from Klatt (1980).
_II, _IH, _EH = (270.0, 2290.0, 3010.0), (390.0, 1990.0, 2550.0), (530.0, 1840.0, 2480.0)
_AA, _AO, _UU = (730.0, 1090.0, 2440.0), (570.0, 840.0, 2410.0), (300.0, 870.0, 2240.0)
_UH, _OU, _RR = (640.0, 1190.0, 2390.0), (480.0, 850.0, 2400.0), (350.0, 1250.0, 1690.0)
_WW, _NN = (290.0, 610.0, 2150.0), (250.0, 1350.0, 2350.0)
_SS, _FF, _TH = (320.0, 2600.0, 3600.0), (340.0, 1100.0, 2080.0), (320.0, 1300.0, 2540.0)

WORDS: dict[str, tuple[Phone, ...]] = {
    "0": (Phone(_SS, 0.3, 0.5, 0.09), Phone(_IH, 1, 0, 0.1), Phone(_RR, 0.8, 0, 0.07), Phone(_OU, 1, 0, 0.18)),
    "1": (Phone(_WW, 0.6, 0, 0.09), Phone(_UH, 1, 0, 0.16), Phone(_NN, 0.45, 0, 0.12)),
    "2": (Phone(_SS, 0, 0.6, 0.05), Phone(_IH, 0.6, 0, 0.04), Phone(_UU, 1, 0, 0.24)),
    "3": (Phone(_TH, 0, 0.3, 0.09), Phone(_RR, 0.8, 0, 0.08), Phone(_II, 1, 0, 0.22)),
    "4": (Phone(_FF, 0, 0.3, 0.1), Phone(_AO, 1, 0, 0.19), Phone(_RR, 0.7, 0, 0.1)),
    "5": (Phone(_FF, 0, 0.3, 0.1), Phone(_AA, 1, 0, 0.17), Phone(_IH, 0.8, 0, 0.09), Phone(_FF, 0.3, 0.15, 0.07)),
    "6": (Phone(_SS, 0, 0.8, 0.13), Phone(_IH, 1, 0, 0.1), Phone(_II, 0, 0, 0.07), Phone(_SS, 0, 0.8, 0.15)),
    "7": (
        *(Phone(_SS, 0, 0.8, 0.11), Phone(_EH, 1, 0, 0.12), Phone(_FF, 0.4, 0.1, 0.06)),
        *(Phone(_UH, 0.8, 0, 0.07), Phone(_NN, 0.45, 0, 0.1)),
    ),
    "8": (Phone(_EH, 1, 0, 0.1), Phone(_II, 1, 0, 0.12), Phone(_II, 0, 0, 0.07), Phone(_SS, 0, 0.5, 0.05)),
    "9": (Phone(_NN, 0.45, 0, 0.09), Phone(_AA, 1, 0, 0.14), Phone(_IH, 0.8, 0, 0.1), Phone(_NN, 0.45, 0, 0.1)),
}


def speak(label: str, person: Person, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """The word at both ears: int16 (n, 2), left and right, at RATE, from a random azimuth within 45 degrees."""
    ears = hear(_mouth(label, person, rng), azimuth=rng.uniform(-np.pi / 4, np.pi / 4))
    level = person.loudness * rng.uniform(0.7, 1.3)
    ears *= level / np.abs(ears).max()
    ears += rng.normal(0, 0.0008, ears.shape)  # the microphones' own noise
    return np.round(np.clip(ears, -1, 1) * 32767).astype(np.int16)


def hear(sound: Sound, azimuth: float) -> Sound:
    """A sound (n,) far away at `azimuth` (rad, positive to the right), as (n, 2) at the left and right ear.

    Delay: Woodworth's formula. Head shadow: Brown and Duda's H(s) = (alpha s + beta) / (s + beta), with
    beta = 2c/a and alpha = 1 + cos(angle between source and ear), by the bilinear transform.
    """
    beta = 2 * SPEED_OF_SOUND / HEAD_RADIUS
    sample = np.arange(len(sound), dtype=np.float64)
    ears = []
    for side in (-1.0, 1.0):
        alpha = 1.0 + np.cos(np.pi / 2 - side * azimuth)
        shadow = lfilter([beta + 2 * RATE * alpha, beta - 2 * RATE * alpha], [beta + 2 * RATE, beta - 2 * RATE], sound)
        delay = -side * HEAD_RADIUS / SPEED_OF_SOUND * (azimuth + np.sin(azimuth)) / 2
        ears.append(np.interp(sample - delay * RATE, sample, shadow))
    return np.stack(ears, axis=1)


def _mouth(label: str, person: Person, rng: np.random.Generator) -> Sound:
    """The word as it leaves the mouth: (n,) at RATE, with some silence around it."""
    phones = WORDS[label]
    seconds = np.array([p.seconds for p in phones]) * rng.uniform(0.85, 1.15, len(phones)) / person.pace
    centre = np.cumsum(seconds) - seconds / 2
    lead, total = rng.uniform(0.02, 0.06), float(seconds.sum()) + 0.06
    n = int((lead + total) * RATE) // BLOCK * BLOCK
    at = np.arange(n) / RATE - lead
    tract = person.tract * rng.normal(1, 0.02)
    tracks = [np.interp(at[::BLOCK], centre, [p.formants[k] * tract for p in phones]) for k in range(3)]

    source = _glottis(at, seconds.sum(), person, rng) * _envelope(at, seconds, [p.voice for p in phones])
    hiss = rng.normal(0, 0.25, n)
    source += np.diff(hiss, prepend=0.0) * _envelope(at, seconds, [p.noise for p in phones])
    return _resonate(source, tracks)


def _glottis(at: Sound, seconds: float, person: Person, rng: np.random.Generator) -> Sound:
    """Derivative of Rosenberg's glottal flow, with falling pitch and some jitter."""
    wander = np.interp(at, np.linspace(at[0], at[-1], 8), rng.normal(1, 0.02, 8))
    pitch = person.pitch_hz * wander * (1.12 - 0.25 * np.clip(at / seconds, 0, 1))
    phase = np.cumsum(pitch) / RATE % 1.0
    opening = 0.5 * (1 - np.cos(np.pi * phase / 0.4))
    closing = np.cos(np.pi / 2 * (phase - 0.4) / 0.1)
    flow = np.where(phase < 0.4, opening, np.where(phase < 0.5, closing, 0.0))
    return np.diff(flow, prepend=0.0) * RATE / person.pitch_hz / 20


def _envelope(at: Sound, seconds: Sound, levels: list[float]) -> Sound:
    """Each phone's level over its time, with edges of 12 ms."""
    edges = np.concatenate([[0.0], np.cumsum(seconds)])
    times = np.stack([edges[:-1] + 0.006, edges[1:] - 0.006], axis=1).ravel()
    times = np.concatenate([[-0.006], times, [edges[-1] + 0.006]])
    return np.asarray(np.interp(at, times, np.concatenate([[0.0], np.repeat(levels, 2), [0.0]])))


def _resonate(source: Sound, tracks: list[Sound]) -> Sound:
    """A cascade of three two-pole resonators whose frequencies move block by block."""
    width = np.exp(-np.pi * np.array(BANDWIDTHS) / RATE)
    frequency = np.minimum(np.stack(tracks, axis=1), 0.45 * RATE)  # (blocks, 3)
    a1, a2 = -2 * width * np.cos(2 * np.pi * frequency / RATE), np.broadcast_to(width**2, frequency.shape)
    zero = np.zeros_like(a1)
    sections = np.stack([1 + a1 + a2, zero, zero, np.ones_like(a1), a1, a2], axis=2)  # (blocks, 3, 6)
    state, out = np.zeros((3, 2)), np.empty_like(source)
    for k, block in enumerate(sections):
        part = slice(k * BLOCK, (k + 1) * BLOCK)
        out[part], state = sosfilt(block, source[part], zi=state)
    return out
