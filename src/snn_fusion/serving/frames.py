"""Streams as uvicorn and websockets read them, with limits on what they send beside their messages.

What is read is looked at in small pieces, each only when the message before it has been taken: else a block of tiny
frames would be a long time and much memory at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from snn_fusion.serving import limits
from snn_fusion.serving.reading import Reader

PIECE = 1024  # bytes


class Frames(WebSocketsSansIOProtocol):
    """Too many pings, or too many fragments of a message, close the stream with 1008; unread answers abort it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = bytearray()
        self._controls = self._late = 0  # pings and pongs; bytes after the end
        self._held = False  # reading, until all pieces are looked at
        self._due: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._reader = Reader(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.stop()
        self._waiting.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self._waiting += data
        if self.close_sent:
            self._late += len(data)
            if self._late > limits.OUTSIDE:
                self.transport.close()
        if self._due is None:
            self._next()

    def _next(self) -> None:
        """Look at a piece. The transport is read again when no piece waits any more."""
        self._due = None
        if self._waiting and not self.read_paused and not self.transport.is_closing():
            piece = bytes(self._waiting[:PIECE])
            del self._waiting[:PIECE]
            super().data_received(piece)
        if self.transport.is_closing():
            self._waiting.clear()
        elif bool(self._waiting) != self._held:
            self._held = bool(self._waiting)
            if self._held:
                self.transport.pause_reading()
            elif not self.read_paused:
                self.transport.resume_reading()
        self._go()

    def _go(self) -> None:
        """Look at the next piece soon, if there is one and its turn has come."""
        if self._waiting and not self.read_paused and self._due is None:
            self._due = self.loop.call_soon(self._next)

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if self._held:  # uvicorn lets the transport be read again, which would pile up pieces
            self.transport.pause_reading()
        self._go()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        self._go()

    def handle_ping(self) -> None:
        self._control()
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        self._control()
        super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > limits.FRAGMENTS:
            self._refuse("too many fragments")

    def _control(self) -> None:
        self._controls += 1
        if self._controls > limits.CONTROLS:
            self._refuse("too many pings")

    def _refuse(self, why: str) -> None:
        """Close the stream; nothing that follows is looked at."""
        self._waiting.clear()
        if not self.close_sent:
            self.conn.fail(CloseCode.POLICY_VIOLATION, why)
            self.handle_parser_exception()
            self._reader.start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader.stop()
