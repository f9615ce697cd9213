"""Work shared out over threads: the kernels let go of Python's lock, so plain threads use all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

# Operations on a block of neurons (one takes about a nanosecond) from which a thread of its own is worth the hand-over:
HAND_OVER = 200_000

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def spread(work: Callable[[int, int], None], total: int, operations: int) -> None:
    """Call `work(first, last)` for consecutive parts of 0 ... total, in up to `torch.get_num_threads()` threads.

    `operations` on blocks of neurons are the whole work; a part is worth handing over, or else there is only one, which
    runs in the calling thread. May be called by several threads at once. Raises what a part raised, when all parts
    have ended.
    """
    threads = torch.get_num_threads()
    parts = max(1, min(threads, total, operations // HAND_OVER))
    if parts == 1:
        work(0, total)
        return
    bounds = [total * i // parts for i in range(parts + 1)]
    pool = _pools.get(threads)
    if pool is None:
        pool = _pools.setdefault(threads, ThreadPoolExecutor(threads, thread_name_prefix="snn-fusion"))
    others = [pool.submit(work, bounds[i], bounds[i + 1]) for i in range(1, parts)]
    try:
        work(bounds[0], bounds[1])
    finally:
        for other in others:
            other.exception()  # waits: the arrays must not go away under a thread
    for other in others:
        other.result()
