"""Event camera to spikes: a grid cell spikes when enough of its events fall into one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import EVENT, Events
from snn_fusion.encoding.frame import check_frame


def channels(params: EncodingParams) -> int:
    """(polarity, count level, row, column) of the grid, flattened."""
    return 2 * len(params.events.counts) * params.events.grid**2


class Stream:
    """Events as they come in: cell and polarity reach the k-th of `counts` events within the step.

    The sensor is divided into `grid` x `grid` cells whatever its size, so recordings of different cameras meet on
    the same channels. Causal: a step's spikes depend on the events up to its end.
    """

    def __init__(self, width: int, height: int, params: EncodingParams) -> None:
        self.width, self.height, self.params = width, height, params
        self.step_us = round(params.step_ms * 1000)  # round() and not int(): 20.0 ms is exactly 20,000 us
        self.done = 0  # steps given out
        self._waiting: list[npt.NDArray[np.void]] = []  # chunks of the step that is not over: joined when it is

    def push(self, events: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        """The steps that are over by the time of the last event: (k, channels) of spikes.

        `events` of dtype EVENT, in order and none before those of the last push. Events after the last step are left
        out. Raises IndexError for an event outside the sensor.
        """
        if len(events):
            self._waiting.append(events)
        return self._steps_until(int(events["t"][-1]) // self.step_us if len(events) else self.done)

    def close(self) -> npt.NDArray[np.bool_]:
        """Nothing more comes: the steps that are left."""
        return self._steps_until(self.params.steps)

    def _steps_until(self, over: int) -> npt.NDArray[np.bool_]:
        first, self.done = self.done, max(self.done, min(over, self.params.steps))
        if self.done == first:
            return np.zeros((0, channels(self.params)), np.bool_)
        waiting = np.concatenate([np.zeros(0, EVENT), *self._waiting])
        here = int(np.searchsorted(waiting["t"], self.done * self.step_us))
        events, self._waiting = waiting[:here], [waiting[here:]]
        if first:
            events = events.copy()
            events["t"] -= first * self.step_us
        shape = self.width, self.height, self.step_us, self.done - first, self.params.events.grid
        binned = bin_events(events, *shape)
        levels = [binned >= count for count in self.params.events.counts]  # each (k, 2, grid, grid)
        return np.stack(levels, axis=2).reshape(len(binned), channels(self.params))


def stream(signal: Events, params: EncodingParams) -> Stream:
    """A stream for recordings like this one. Raises BadInput for a frame that the network is not for."""
    check_frame(signal.width, signal.height, params.events)
    return Stream(signal.width, signal.height, params)


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
    row_of = np.arange(height) * rows // height * columns
    column_of = np.arange(width) * columns // width
    outside = _count(events, step_us, row_of, column_of, out.reshape(steps, 2, rows * columns))
    if outside >= 0:
        t, x, y, p = (int(events[name][outside]) for name in "txyp")
        raise IndexError(f"event {outside} at t={t}, x={x}, y={y}, p={p} is outside a sensor of {width} x {height}")
    return out


@njit(cache=True, nogil=True)
def _count(events, step_us, row_of, column_of, out):  # type: ignore[no-untyped-def]
    """Count into `out` (steps, 2, cells); the index of the first event outside time or sensor, else -1.

    Times ascend, so a step's events are found by bisection and the loop over them does not look at the time.
    """
    times, height, width, cells = events["t"], len(row_of), len(column_of), out.shape[2]
    start = 0
    if len(events) and times[0] < 0:
        return 0
    for step in range(out.shape[0]):
        end = _first_at(times, (step + 1) * step_us, start)
        counts = out[step].reshape(-1)
        may_overflow = end - start > 65535
        for i in range(start, end):
            event = events[i]
            x, y, p = np.int64(event.x), np.int64(event.y), np.int64(event.p)
            if y >= height or x >= width or p > 1:
                return i
            cell = p * cells + row_of[y] + column_of[x]
            if may_overflow and counts[cell] == 65535:
                continue
            counts[cell] += 1
        start = end
    return -1


@njit(cache=True, nogil=True)
def _first_at(times, when, start):  # type: ignore[no-untyped-def]
    """Index of the first time at or after `when`, from `start` up."""
    low, high = start, len(times)
    while low < high:
        middle = (low + high) // 2
        if times[middle] < when:
            low = middle + 1
        else:
            high = middle
    return low
