"""How sure an accuracy is, and whether two networks differ."""

from __future__ import annotations

from fractions import Fraction
from math import comb, sqrt
from statistics import NormalDist


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion: (low, high), both in [0, 1]; (0, 1) for n = 0.

    centre = (p + z^2/2n) / (1 + z^2/n),  half = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)

    Wilson 1927, J. Am. Stat. Assoc. 22(158). Unlike p +- z sqrt(p(1-p)/n) it never collapses to a point at p = 1,
    which is where a good classifier is. Raises ValueError unless 0 <= correct <= n and 0 < confidence < 1.
    """
    if not 0 <= correct <= n or not 0 < confidence < 1:
        raise ValueError(f"no such proportion: {correct} correct of {n} at confidence {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, z2n = correct / n, z * z / n
    centre = (p + z2n / 2) / (1 + z2n)
    half = z * sqrt(p * (1 - p) / n + z2n / (4 * n)) / (1 + z2n)
    # The bounds at 0 and n are exact; rounding would leave 1e-17.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two classifiers err alike, from the recordings that only one of them gets right.

    Under the null hypothesis each of the n = only_first + only_second discordant recordings falls to either side
    with probability 1/2, so p = min(1, 2 P[Binomial(n, 1/2) <= min(only_first, only_second)]); 1 for n = 0.

    McNemar 1947, Psychometrika 12(2). Raises ValueError for negative counts.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts must not be negative: {only_first}, {only_second}")
    n = only_first + only_second
    tail = sum(comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(Fraction(2 * tail, 2**n)))  # whole numbers up to the last step: exact for any n
