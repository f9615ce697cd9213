"""Threads that compute answers, what waits for them, and how long that takes: the service's only queue.

A thread takes its share of what waits (a micro-batch); each recording in it is computed alone, so that no answer
depends on its neighbours. How long a newcomer would wait decides how much it gets:

    up to PRESSURE seconds   all time steps
    up to twice that         60 % of them, then 40 %: less time for less accuracy, which the answer names
    beyond                   429, and when to come again
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from snn_fusion.serving.problems import Problem

LEVELS = ((1.0, 1.0), (1.5, 0.6), (2.0, 0.4))  # up to so many times the pressure: this share of the steps
SMOOTH = 0.05  # share of the newest in the mean time of an answer
MOST = 16  # recordings that a thread takes at once


@dataclass
class _Job:
    work: Callable[[], Any]
    done: asyncio.Future[Any]
    since: float


class Workers:
    """`pressure` in seconds of waiting; `count` threads. To be used from one event loop."""

    def __init__(self, count: int, pressure: float) -> None:
        self.count, self.pressure = count, pressure
        self._pool = ThreadPoolExecutor(count, "infer")
        self._waiting: deque[_Job] = deque()
        self._busy = 0
        self._mean = 0.002  # seconds an answer takes a thread
        self.batches: list[int] = []  # sizes since they were last looked at
        self.queued: list[float] = []

    @property
    def wait(self) -> float:
        """Seconds until a newcomer would be looked at."""
        return len(self._waiting) * self._mean / self.count

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def pressed(self) -> bool:
        """Whether newcomers get less than all steps."""
        return self.wait > self.pressure

    def share(self) -> float:
        """The share of the time steps that a newcomer gets. Raises Problem 429."""
        for times, share in LEVELS:
            if self.wait <= times * self.pressure:
                return share
        soon = max(1, round(self.wait))
        raise Problem(429, "service", "too many requests wait", f"{2 * self.pressure:g} s of waiting", soon)

    async def run(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, from one of the threads."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done, time.perf_counter()))
        self._start()
        return await done

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
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._pool, _all, [job.work for job in jobs])
        finally:
            self._busy -= 1
            self._start()
        if not jobs:
            return
        each = (time.perf_counter() - started) / len(jobs)
        self._mean += SMOOTH * (each - self._mean)
        self.batches.append(len(jobs))
        for job, result in zip(jobs, results, strict=True):
            self.queued.append(started - job.since)
            if job.done.cancelled():
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)


def _all(works: list[Callable[[], Any]]) -> list[Any]:
    """Each one's result, or what it raised."""
    results: list[Any] = []
    for work in works:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
    return results
