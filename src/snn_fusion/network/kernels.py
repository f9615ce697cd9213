"""The leaky integrate-and-fire scan over time and its chain rule, compiled: one pass over memory instead of a dozen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.floating[Any]]  # (B, T, N), C order


@njit(cache=True, nogil=True)
def lif_forward(current: Array, beta: float, threshold: float, potential: Array, spikes: Array) -> None:
    """Fill `potential` (before reset) and `spikes` from input currents, starting at rest; scalars in their dtype."""
    zero = beta * 0
    for b in range(current.shape[0]):
        for t in range(current.shape[1]):
            for n in range(current.shape[2]):
                kept = zero
                if t > 0 and potential[b, t - 1, n] <= threshold:
                    kept = potential[b, t - 1, n]
                now = beta * kept + current[b, t, n]
                potential[b, t, n] = now
                spikes[b, t, n] = 1.0 if now > threshold else 0.0


@njit(cache=True, nogil=True)
def lif_backward(grad: Array, potential: Array, beta: float, threshold: float, slope: float, delta: Array) -> float:
    """Fill `delta`, the gradient of the current, from that of the spikes; returns the gradient of beta.

    delta[t] = grad[t] / (slope * |U[t] - threshold| + 1)^2 + beta * (1 - S[t]) * delta[t+1]
    """
    one, beta_grad = beta * 0 + 1, 0.0
    steps = grad.shape[1]
    for b in range(grad.shape[0]):
        for t in range(steps - 1, -1, -1):
            for n in range(grad.shape[2]):
                u = potential[b, t, n]
                steep = slope * abs(u - threshold) + one
                back = grad[b, t, n] / (steep * steep)
                if t + 1 < steps and u <= threshold:
                    back += beta * delta[b, t + 1, n]
                    beta_grad += delta[b, t + 1, n] * u
                delta[b, t, n] = back
    return beta_grad
