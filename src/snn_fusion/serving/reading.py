"""A client that does not read what it gets is given up, so that nothing is kept for it without end."""

from __future__ import annotations

import asyncio

from snn_fusion.serving import limits


class Reader:
    """From `start` to `stop`, some of what is written to `transport` has to be read every `limits.UNREAD_S`."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._clock: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._clock is None and (unread := self._transport.get_write_buffer_size()):
            self._clock = asyncio.get_running_loop().call_later(limits.UNREAD_S, self._look, unread)

    def stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _look(self, before: int) -> None:
        self._clock = None
        if self._transport.get_write_buffer_size() < before:
            self.start()
        else:
            self._transport.abort()
