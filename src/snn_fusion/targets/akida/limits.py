"""What the two versions of Akida can hold, as akida 2.19.3 documents its layers and enforces it when they are built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`weight_high`: weights are whole numbers of at most this size; `levels`: what an activation can count to.

    `delay_high`: steps that a layer looks back.
    """

    weight_high: int
    input_low: int
    input_high: int
    levels: tuple[int, ...]
    delay_high: int


# 1: FullyConnected, uint4 in, 4-bit weights, activations of 1, 2 or 4 bits. 2: BufferTempConv and Dense1D, all int8.
VERSIONS = {
    1: Limits(7, 0, 15, (1, 3, 15), 0),
    2: Limits(127, -128, 127, tuple(range(1, 128)), 9),
}
FAN_IN_HIGH = 81_920  # inputs of a fully connected layer
POTENTIAL_HIGH = 2**27 - 1  # 28-bit sums
BIAS_HIGH = 127  # version 2: mantissa of a bias, shifted to the left by up to BIAS_SHIFT_HIGH bits
BIAS_SHIFT_HIGH = 20
