"""Work shared out over threads: the kernels let go of Python's lock, so plain threads use all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from snn_fusion.errors import BadInput

# Operations on a block of neurons (one takes about a nanosecond) from which a thread of its own is worth the hand-over:
HAND_OVER = 100_000
PARTS = 4  # a thread

_own: int | None = None
_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def use(threads: int | None) -> None:
    """How many threads the kernels may use; None, as in the beginning: as many as torch.

    Small steps are fastest with `torch.set_num_threads(1)` and all cores here: torch shares out even the loss of a
    small batch, which then takes several times as long.
    """
    global _own
    if threads is not None and threads < 1:
        raise BadInput("threads", f"is {threads}", "give 1 or more, or None")
    _own = threads


def spread(work: Callable[[int, int], None], total: int, operations: int) -> None:
    """Call `work(first, last)` for consecutive parts of 0 ... total, in up to as many threads as `use` allows.

    `operations` on blocks of neurons are the whole work; it is shared out only if a thread's share is worth the
    hand-over. There are a few parts a thread: one that somebody else's process holds up leaves the rest to the others.
    May be called by several threads at once. Raises what a part raised, when all threads have ended.
    """
    threads = min(_own or torch.get_num_threads(), total, operations // HAND_OVER)
    if threads <= 1:
        work(0, total)
        return
    parts = min(total, PARTS * threads)
    left = iter(range(parts))  # taking the next one is a single step under Python's lock

    def take() -> None:
        for part in left:
            work(total * part // parts, total * (part + 1) // parts)

    pool = _pools.get(threads)
    if pool is None:
        pool = _pools.setdefault(threads, ThreadPoolExecutor(threads, thread_name_prefix="snn-fusion"))
    others = [pool.submit(take) for _ in range(1, threads)]
    try:
        take()
    finally:
        running = [other for other in others if not other.cancel()]
        for other in running:
            other.exception()  # waits: the arrays must not go away under a thread
    for other in running:
        other.result()
