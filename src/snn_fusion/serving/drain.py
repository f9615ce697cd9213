"""SIGTERM: /ready turns red at once, connections are taken for a while longer, then the server ends what is in flight.

A balancer needs that while to notice; whatever it still sends is answered. The server's own handler comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def on_sigterm(begin: Callable[[], None], seconds: float) -> Iterator[None]:
    """Within, SIGTERM calls `begin` at once and the handler that was there `seconds` later. In the main thread only."""
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # nobody here waits for requests in flight
        return
    ends, loop = before, asyncio.get_running_loop()

    def handler(number: int, frame: FrameType | None) -> None:
        begin()
        loop.call_soon_threadsafe(loop.call_later, seconds, ends, number, None)

    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, before)
