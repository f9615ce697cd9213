"""Where a signal begins: after rest, or after noise that goes on the same way.

As Rabiner and Sambur (1975) find the ends of an utterance: what rises clearly above what was there before is the
signal, and its weak beginning is looked for backwards from there. Causal: what was decided never changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_fusion.config import OnsetParams
from snn_fusion.data.recording import Sense
from snn_fusion.encoding.activity import HOP_US, Float64

SMOOTH = 4  # hops whose mean is the level
# What is weak and varies less than that over that time, from the very beginning on, may be noise: what rises above it
# is the signal. If nothing does, it was the signal itself.
STEADY_US, STEADY_DB = 200_000, 6.0
CLEAR_DB: dict[Sense, float] = {"audio": 20.0, "events": 10.0, "imu": 20.0}  # above the least level; more is not weak
SILENCE = 1e-30  # energy that is added before the logarithm
# Hops that the level stays up: the mean over SMOOTH of a sound of at least 35 ms. A switch or a thump is shorter.
LASTS: dict[Sense, int] = {"audio": 10, "events": 1, "imu": 1}
# How far below the least level a quiet signal may lie, once the noise before it is known to lie far enough below it.
QUIETER_DB: dict[Sense, float] = {"audio": 20.0, "events": 0.0, "imu": 0.0}

# What is carried on from hop to hop.
HOPS, FOUND, CANDIDATE, LOW, HIGH, SUM, FLOOR, FLOOR_HOPS, WEAK, LEVEL, STEADY, RUN = range(12)


class Onset:
    """`found`: the hop in which the signal begins, None until that is known; 0 where it begins at once."""

    def __init__(self, sense: Sense, params: OnsetParams) -> None:
        self._state = np.zeros(12)
        self._state[[FOUND, CANDIDATE, WEAK, RUN]] = -1
        self._recent = np.zeros((SMOOTH, 2))
        unit = params.events_per_s * HOP_US / 1e6 if sense == "events" else 1.0
        least = params.audio_db if sense == "audio" else 0.0
        self._look_back = round(1000 * params.look_back_ms / HOP_US)
        levels = least, least - QUIETER_DB[sense], least + CLEAR_DB[sense], params.rise_db
        self._settings = unit, *levels, self._look_back, LASTS[sense]

    def push(self, hops: Float64) -> None:
        """Energy and weight of the next hops (k, 2)."""
        if self.found is None:
            _search(hops, self._state, self._recent, *self._settings)

    def close(self) -> None:
        """Nothing more comes: what was there from the beginning on, with nothing rising above it, was the signal."""
        if self.found is None and (self._state[CANDIDATE] >= 0 or self._state[STEADY]):
            self._state[FOUND] = 0

    @property
    def found(self) -> int | None:
        return int(self._state[FOUND]) if self._state[FOUND] >= 0 else None

    @property
    def earliest(self) -> int:
        """The first hop that may still turn out to be the onset."""
        if self._state[CANDIDATE] >= 0:
            return 0
        latest = self._state[HOPS] if self._state[RUN] < 0 else self._state[RUN]
        first = max(int(latest) - self._look_back, 0)
        return first if first > self._look_back else 0


@njit(cache=True)  # not nogil: to have the lock back would take longer
def _search(hops, state, recent, unit, least, quietest, clear, rise, look_back, lasts):  # type: ignore[no-untyped-def]
    for k in range(len(hops)):
        hop = int(state[HOPS])
        recent[hop % SMOOTH] = hops[k]
        weight = recent[:, 1].sum()
        # The level in dB; where a slow sensor gave no sample, the one before.
        level = 10 * np.log10(recent[:, 0].sum() / (weight * unit) + SILENCE) if weight else state[LEVEL]
        state[LEVEL], state[HOPS] = level, hop + 1
        if state[CANDIDATE] >= 0:  # it began at once: a signal, unless it is weak and steady
            state[LOW], state[HIGH] = min(state[LOW], level), max(state[HIGH], level)
            state[SUM] += 10 ** (level / 10)
            lasted = hop - state[CANDIDATE] + 1
            if level > clear or state[HIGH] - state[LOW] >= STEADY_DB:
                state[FOUND] = 0
                return
            if lasted * HOP_US >= STEADY_US:
                state[STEADY], state[CANDIDATE], state[WEAK], state[RUN] = 1, -1, -1, -1
                state[FLOOR], state[FLOOR_HOPS] = state[SUM], lasted
            continue
        floor = 10 * np.log10(state[FLOOR] / state[FLOOR_HOPS] + SILENCE) if state[FLOOR_HOPS] else least - rise
        limit = least
        if state[FLOOR_HOPS] * HOP_US >= STEADY_US:
            limit = max(min(least, floor + rise), quietest)
        if level <= max(floor, limit - rise) + rise / 2:  # rest, or noise
            state[WEAK], state[RUN] = -1, -1
            state[FLOOR] += 10 ** (level / 10)
            state[FLOOR_HOPS] += 1
            continue
        if state[WEAK] < 0:
            state[WEAK] = hop
        if state[RUN] < 0 and level > max(limit, floor + rise):
            state[RUN] = hop
        if state[RUN] < 0 or hop - state[RUN] + 1 < lasts:
            continue
        began = max(state[WEAK], state[RUN] - look_back)
        if began > look_back or state[STEADY]:
            state[FOUND] = began
            return
        state[CANDIDATE], state[LOW], state[HIGH], state[SUM] = hop, level, level, 10 ** (level / 10)
