"""Threads that compute answers, what waits for them, and how long that takes: the service's only queue.

A thread takes its share of what waits (a micro-batch); each recording in it is computed alone, so that no answer
depends on its neighbours. How long a newcomer would wait decides how much it gets:

    up to PRESSURE seconds   all time steps
    up to twice that         60 % of them, then 40 %: less time for less accuracy, which the answer names
    beyond                   429, and when to come again
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from snn_fusion.serving.problems import Problem

LEVELS = ((1.0, 1.0), (1.5, 0.6), (2.0, 0.4))  # up to so many times the pressure: this share of the steps
SMOOTH = 0.05  # share of the newest in the mean time of an answer
HOLD_S = 1.0  # so long after the last newcomer under pressure it still counts as pressed, for whoever asks rarely
MOST = 16  # recordings that a thread takes at once


@dataclass
class _Job:
    work: Callable[[], Any]
    done: asyncio.Future[Any]
    since: float


class Workers:
    """`pressure` in seconds of waiting; `count` threads. To be used from one event loop.

    `worked` is told of each micro-batch, with the seconds that each piece of work in it waited.
    """

    def __init__(self, count: int, pressure: float, worked: Callable[[list[float]], None] = lambda _: None) -> None:
        self.count, self.pressure, self._worked = count, pressure, worked
        # Filters that ring out in silence come to numbers so small that a processor takes far longer for them (half a
        # second of sound and as much silence: 4 ms instead of 0.5). As zero they change no spike: what encoders add to
        # each power before the logarithm is more, and thresholds are far above.
        self._pool = ThreadPoolExecutor(count, "infer", torch.set_flush_denormal, (True,))
        self._waiting: deque[_Job] = deque()
        self._busy = self._running = 0  # threads, and pieces of work in them
        self._mean = 0.002  # seconds an answer takes a thread
        self._pressed_until = 0.0

    @property
    def wait(self) -> float:
        """Seconds until a newcomer would be looked at: by the mean, and at least what the first in line has waited.

        The second is what tells of work that takes far longer than it used to.
        """
        if self._busy < self.count:
            return 0.0
        estimate = (len(self._waiting) + self._running) * self._mean / self.count
        return max(estimate, time.perf_counter() - self._waiting[0].since) if self._waiting else estimate

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def pressed(self) -> bool:
        """Whether newcomers get less than all steps, or got so a moment ago."""
        return self.wait > self.pressure or time.perf_counter() < self._pressed_until

    def share(self) -> float:
        """The share of the time steps that a newcomer gets. Raises Problem 429."""
        wait = self.wait
        if wait > self.pressure:
            self._pressed_until = time.perf_counter() + HOLD_S
        for times, share in LEVELS:
            if wait <= times * self.pressure:
                return share
        soon = max(1, math.ceil(wait))
        raise Problem(429, "service", "too many requests wait", f"{2 * self.pressure:g} s of waiting", soon)

    async def run(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, from one of the threads."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done, time.perf_counter()))
        self._start()
        try:
            return await done
        finally:
            del done  # which holds the exception that has this frame, see `_batch`

    async def drained(self) -> None:
        """Wait until nothing waits or runs."""
        while self._waiting or self._busy:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _start(self) -> None:
        while self._waiting and self._busy < self.count:
            size = min(max(1, len(self._waiting) // self.count), MOST)
            jobs = [self._waiting.popleft() for _ in range(size)]
            self._busy += 1
            asyncio.get_running_loop().create_task(self._batch(jobs))

    async def _batch(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if not job.done.cancelled()]  # whose client went away
        started = time.perf_counter()
        self._running += len(jobs)
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._pool, _all, [job.work for job in jobs])
        finally:
            self._busy -= 1
            self._running -= len(jobs)
            self._start()
        if not jobs:
            return
        each = (time.perf_counter() - started) / len(jobs)
        self._mean += SMOOTH * (each - self._mean)
        self._worked([started - job.since for job in jobs])
        for job, result in zip(jobs, results, strict=True):
            if job.done.cancelled():
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)
        # An exception holds the frames that it came through, and with them all that was made of the request. A frame
        # that holds the exception in turn, as the pool's hold these results, keeps that until garbage is looked for.
        results.clear()


def _all(works: list[Callable[[], Any]]) -> list[Any]:
    """Each one's result, or what it raised."""
    return list(map(_one, works))  # in no variable, see `_batch`


def _one(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return error
