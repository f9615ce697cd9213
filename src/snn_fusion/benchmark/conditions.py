"""The conditions that every network is tested under: clean, and what the world does to recordings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snn_fusion.data.manifest import Ref
from snn_fusion.data.perturb import NOISE, NoiseLevel, add_noise
from snn_fusion.data.recording import SENSES, Sense, Signal

Level = Literal["clean"] | NoiseLevel
# What gave an answer: one sense with the others silent, or all that a recording has.
View = Sense | Literal["fused"]
VIEWS: tuple[View, ...] = ("audio", "events", "imu", "fused")
LEVELS: tuple[Level, ...] = ("clean", *NOISE)


@dataclass(frozen=True)
class Condition:
    """One way of testing: a `level` of noise on every sense, one sense missing, or stopped early."""

    name: str
    title: str
    level: Level = "clean"
    missing: Sense | None = None  # measured for the fused answer only
    percent: int = 100  # of the steps, after which the answer is read

    def step(self, steps: int) -> int:
        """The step (0-based) after which the answer is read."""
        return max(1, round(steps * self.percent / 100)) - 1


def _noise(level: NoiseLevel) -> Condition:
    noise = NOISE[level]
    return Condition(
        level, f"noise {level[1]}: sound at {noise.snr_db:g} dB SNR, {noise.drop:.0%} of events lost", level
    )


CONDITIONS: tuple[Condition, ...] = (
    Condition("clean", "clean"),
    *(_noise(level) for level in NOISE),
    *(Condition(f"missing_{s}", f"{s} silent", missing=s) for s in SENSES),
    *(Condition(f"early_{p}", f"stopped after {p} % of the steps", percent=p) for p in (20, 40, 60)),
)
HARD_CONDITIONS: tuple[str, ...] = tuple(c.name for c in CONDITIONS if c.name != "clean")

# Of chips only: networks that never heard a speaker, on that speaker's recordings, the sound alone, at each level.
LEFT_OUT = "leave_one_speaker_out"
SPEAKER_CONDITIONS: dict[Level, Condition] = {
    "clean": Condition(LEFT_OUT, "a speaker it never heard"),
    **{level: Condition(f"{LEFT_OUT}_{level}", f"a speaker it never heard, {level}", level) for level in NOISE},
}
CHIP_CONDITIONS = (*CONDITIONS, *SPEAKER_CONDITIONS.values())


def at_level(signal: Signal, level: Level, ref: Ref, seed: int, step_ms: float) -> Signal:
    """The recording under a level of noise: the same noise whenever this recording is tested with this seed.

    The noise depends on the recording's content, neither on where its file lies nor on what else is tested.
    """
    if level == "clean":
        return signal
    name = f"{seed}/{ref.sha256 or ref.path}/{level}"
    return add_noise(signal, level, np.random.default_rng(list(hashlib.sha256(name.encode()).digest())), step_ms)
