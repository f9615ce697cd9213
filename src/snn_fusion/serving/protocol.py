"""HTTP as uvicorn reads it, but a request's head may take only so long, and what cannot be read is answered in JSON.

Only a request whose head is there reaches the application, so that all limits on clients before that are here.
"""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from snn_fusion.serving import limits
from snn_fusion.serving.guard import HEADERS
from snn_fusion.serving.kinds import JSON
from snn_fusion.serving.logs import correlate, log
from snn_fusion.serving.problems import Problem

NAME = f"{__name__}:Timely"  # as uvicorn imports it


class Timely(HttpToolsProtocol):
    """A clock runs from a connection's start, and from a request's first byte, to the end of the request's head."""

    _clock: asyncio.TimerHandle | None = None
    _in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._answering:  # also empty lines, which begin no request, and a body whose answer is out already
            self._start()
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start()

    def on_headers_complete(self) -> None:
        self._stop()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop()
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._end(Problem(400, "request", "cannot be read", "HTTP/1.1"))

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start(self) -> None:
        if self._clock is None:
            self._clock = self.loop.call_later(limits.HEAD_S, self._late)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self) -> None:
        self._clock = None
        if self._answering:  # the answer to the request before this one is still to come
            self._start()
        elif self._in_body:  # an answer was given: another would be taken for that to the next request
            self.transport.close()
        else:
            self._end(Problem(408, "request", f"its head did not arrive within {limits.HEAD_S:g} s", "send it at once"))

    def _end(self, problem: Problem) -> None:
        """Answer in the application's place, and close the connection."""
        if self.transport.is_closing():
            return
        request_id = correlate(None)
        body = msgspec.json.encode(problem.body())
        headers = {
            **HEADERS,
            **{"X-Request-ID": request_id, "Content-Type": JSON, "Content-Length": str(len(body))},
            "Connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[problem.status] + lines.encode() + b"\r\n" + body)
        self.transport.close()
        log.info("request", extra={"fields": {"status": problem.status, "refused": problem.problem}})
