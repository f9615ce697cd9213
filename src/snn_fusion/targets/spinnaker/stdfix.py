"""The chip's own arithmetic for a neuron's decay, as `IF_curr_delta.aplx` has it (spynnaker 7.4.1), in whole numbers.

The core is given tau_m and computes the decay itself when it starts: `exp_TC = expk(-kdivk(time_step, tau_m))`, both in
s16.15. `expk` is not correctly rounded, so a decay can only be known by doing the same. The constants and the order of
the operations were read out of the binary, and the results are the binary's for every argument from -10.5 to 0 (run
in an ARM emulator).
"""

from __future__ import annotations

import math
from functools import lru_cache

from snn_fusion.targets.spinnaker.limits import ONE

LOWEST = -340695  # expk gives 0 below it
# exp(-13) ... exp(0), 32 bits behind the point
WHOLE = (
    0x25EC, 0x6715, 0x11835, 0x2F9AF, 0x81679, 0x15FC21, 0x3BC2D7, 0xA27290, 0x1B993FE, 0x4B0556E,
    0xCBED866, 0x22A55547, 0x5E2D58D9, 0x100000000,
)  # fmt: skip
# 1 - exp(-k / 16), 32 bits behind the point
SIXTEENTH = (
    0x0, 0xF82A022, 0x1E14AED9, 0x2BC4BF6A, 0x38A0830B, 0x44B4D690, 0x500DCF51, 0x5AB6C736,
    0x64BA681D, 0x6E22B67A, 0x76F91B66, 0x7F466E01, 0x8712FC50, 0x8E669388, 0x954887DB, 0x9BBFBBD0,
)  # fmt: skip
CUBIC, SQUARE, OFFSET = 0x7C130FE0, 0xFFE89D60, 0x14AE
U32, U64 = 2**32 - 1, 2**64 - 1


def _high(product: int) -> int:
    """The upper word of 64 bits, rounded as the chip does: up only from 0x7FFFFFFF on."""
    return (product >> 32) + (product & U32 > 0x7FFFFFFE)


def expk(x: int) -> int:
    """exp of an s16.15 number that is not positive, as the chip computes it."""
    if x < LOWEST:
        return 0
    whole, part = x >> 15, x & (ONE - 1)
    if part == 0:
        return WHOLE[whole + 13] >> 17
    above, left = WHOLE[whole + 14], ONE - part  # exp(x) = exp(whole + 1) exp(-left)
    coarse = SIXTEENTH[left >> 11]
    rest = (above - (above >> 32) * coarse - _high((above & U32) * coarse)) & U64
    fine = (left << 17) & 0x0FFE0000
    poly = (((SQUARE - (fine * CUBIC >> 32)) * fine >> 32) + OFFSET) & U32
    found = (rest - (rest >> 32) * poly - _high((rest & U32) * poly)) & U64
    return (found >> 17) & U32


def decay_of(tau: int) -> int:
    """exp_TC of a tau_m, both s16.15, at a time step of 1 ms."""
    return expk(-(ONE * ONE // tau))


@lru_cache(maxsize=4096)
def tau_of(decay: float) -> int:
    """The tau_m whose exp_TC is nearest to a decay below 1; of several the lowest. 32767 is never an exp_TC: it is 1 or
    at most 32766."""
    if decay * ONE < 0.5:
        return 1
    near = round(-ONE / math.log(min(decay, 1 - 0.5 / ONE)))
    # A unit of the quotient 2^30 / tau moves exp_TC by at most a unit; within this reach is at least one of them.
    reach = near * near // (ONE * ONE) + 16
    candidates = sorted({max(1, near + i * max(1, reach // 16)) for i in range(-16, 17)})
    return min(candidates, key=lambda tau: abs(decay_of(tau) - decay * ONE))
