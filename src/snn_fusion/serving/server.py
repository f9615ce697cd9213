"""The process that answers: uvicorn with our limits, which owns the only socket that anybody can connect to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from snn_fusion.errors import BadInput
from snn_fusion.serving import limits
from snn_fusion.serving.frames import Frames
from snn_fusion.serving.listener import bound, take_no_more
from snn_fusion.serving.model import Model
from snn_fusion.serving.protocol import Timely
from snn_fusion.serving.settings import Settings

# Seconds after which a thread gives the interpreter to the next: the loop that reads and writes waits for one that
# computes each time it has let go of it, and with Python's 5 ms that was most of the time that a request took.
SWITCH_S = 0.0005
HANDSHAKE_S = 0.1  # within which those who have begun to connect end it
LEFT_S = 5.0  # so long those who came last have to send their requests, each to be refused


class State(ServerState):
    refusing = False  # requests in flight are ended, and whatever else comes is refused


class Server(uvicorn.Server):
    """At its end it goes on listening until all is answered that was taken: what comes meanwhile gets a 503."""

    server_state: State

    def __init__(self, app: ASGIApp, listener: socket.socket, ready: int | None = None) -> None:
        """`ready`: a file descriptor that is told when connections are taken."""
        super().__init__(
            uvicorn.Config(
                app,
                http=Timely,
                ws=Frames,
                ws_max_size=2 * limits.MESSAGE,  # what is a little too large gets its answer from the stream itself
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                server_header=False,
            )
        )
        self.server_state = State()
        self._listener, self._ready = listener, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([self._listener.dup()])
        if self.started and self._ready is not None:
            os.write(self._ready, b"1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.refusing = True
        taken = set(self.server_state.tasks)
        for connection in list(self.server_state.connections):
            if not (isinstance(connection, Timely) and connection.idle):
                connection.shutdown()
        while any(not task.done() for task in taken) and not self.force_exit:
            await asyncio.sleep(0.02)
        if not self.force_exit:
            await self.lifespan.shutdown()
        for server in self.servers:
            server.close()
        await self._refuse_the_last()

    async def _refuse_the_last(self) -> None:
        """Close the socket, answer those who had come already, and close what is left."""
        loop = asyncio.get_running_loop()
        take_no_more(self._listener)
        await asyncio.sleep(HANDSHAKE_S)
        self._listener.setblocking(False)
        last = []
        with contextlib.suppress(OSError):  # when nobody is left
            while True:
                last.append(self._listener.accept()[0])
        self._listener.close()
        for one in last:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, one)
        until = loop.time() + LEFT_S
        await asyncio.sleep(0.1)
        while loop.time() < until and (self.server_state.tasks or any(map(_new, self.server_state.connections))):
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await asyncio.sleep(0)

    def _protocol(self) -> asyncio.Protocol:
        return Timely(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _new(connection: object) -> bool:
    """Whether it was opened and has had no answer yet, so that its client is about to ask."""
    return isinstance(connection, Timely) and connection.cycle is None


def work(settings: Settings, host: str, port: int, ready: int | None = None) -> int:
    """Answer until SIGTERM or SIGINT; the exit code. Raises BadInput if it cannot begin."""
    from snn_fusion.serving.app import create
    from snn_fusion.serving.load import challenger, load

    failed: list[BadInput] = []

    def loaded(settings: Settings) -> Model:
        try:
            return load(settings)
        except BadInput as error:
            failed.append(error)
            raise

    sys.setswitchinterval(SWITCH_S)
    for one in (signal.SIGTERM, signal.SIGINT):  # which uvicorn raises again at its end
        signal.signal(one, lambda *_: None)
    if settings.follows and not _registered(settings, host, port, ready):
        return 0
    with bound(host, port) as listener:
        server = Server(create(settings, loaded, challenger), listener, ready)
        try:
            server.run()
        except SystemExit:  # all that uvicorn says of a failed start
            if failed:
                raise failed[0] from None
            raise
    return 0


def _registered(settings: Settings, host: str, port: int, ready: int | None) -> bool:
    """Wait until the registry has a model, answering that it has none; whether it has, and nobody ended the wait."""
    from snn_fusion.serving.waiting import Waiting

    waiting = Waiting(settings)
    waiting.look()
    if waiting.why is not None:
        with bound(host, port) as listener:

            def end() -> None:
                server.should_exit = True

            server = Server(waiting.application(end), listener, ready)
            server.run()
    return waiting.why is None
