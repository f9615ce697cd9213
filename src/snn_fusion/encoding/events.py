"""Event camera to spikes: a grid cell spikes when enough of its events fall into one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Events


def channels(params: EncodingParams) -> int:
    """(polarity, count level, row, column) of the grid, flattened."""
    return 2 * len(params.events.counts) * params.events.grid**2


def encode(signal: Events, params: EncodingParams) -> npt.NDArray[np.bool_]:
    """(steps, channels): cell and polarity reach the k-th of `counts` events within the step.

    The sensor is divided into `grid` x `grid` cells whatever its size, so recordings of different cameras meet on
    the same channels. Causal: a step's spikes depend on the events up to its end.
    """
    grid, counts = params.events.grid, params.events.counts
    # round() and not int(): 20.0 ms is exactly 20,000 us
    binned = bin_events(signal.events, signal.width, signal.height, round(params.step_ms * 1000), params.steps, grid)
    levels = [binned >= count for count in counts]  # each (steps, 2, grid, grid)
    return np.stack(levels, axis=2).reshape(params.steps, -1)


def bin_events(
    events: npt.NDArray[np.void], width: int, height: int, step_us: int, steps: int, grid: int | None = None
) -> npt.NDArray[np.uint16]:
    """Events in each step, polarity and cell: uint16 (steps, 2, rows, columns), saturating at 65,535.

    `grid` None: a cell a pixel. Events after the last step are left out. Raises IndexError for an event outside
    the sensor.
    """
    rows, columns = (height, width) if grid is None else (grid, grid)
    out = np.zeros((steps, 2, rows, columns), np.uint16)
    # Cell borders by exact integer division, looked up instead of divided for each event.
    row_of = np.arange(height) * rows // height
    column_of = np.arange(width) * columns // width
    outside = _count(
        events["t"],
        events["x"],
        events["y"],
        events["p"],
        step_us,
        row_of,
        column_of,
        out.reshape(steps * 2, rows, columns),
    )
    if outside >= 0:
        x, y, p = (int(events[name][outside]) for name in "xyp")
        raise IndexError(f"event {outside} at x={x}, y={y}, p={p} is outside a sensor of {width} x {height}")
    return out


@njit(cache=True, nogil=True)
def _count(t, x, y, p, step_us, row_of, column_of, out):  # type: ignore[no-untyped-def]
    """Count into `out` (2 * steps, rows, columns); the index of the first event outside the sensor, else -1."""
    end = (len(out) // 2) * step_us
    height, width = len(row_of), len(column_of)
    step, step_end = 0, step_us
    for i in range(len(t)):
        if t[i] >= end:
            break
        if y[i] >= height or x[i] >= width or p[i] > 1 or t[i] < 0:
            return i
        if t[i] >= step_end or t[i] < step_end - step_us:  # times ascend, so a division is rare
            step = t[i] // step_us
            step_end = (step + 1) * step_us
        row, column, plane = row_of[y[i]], column_of[x[i]], 2 * step + p[i]
        if out[plane, row, column] < 65535:
            out[plane, row, column] += 1
    return -1
