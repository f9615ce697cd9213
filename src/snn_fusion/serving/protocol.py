"""HTTP as uvicorn and llhttp read it, with limits on all that a connection sends outside a body, counted as it comes.

Only a request whose head is there reaches the application, so that all limits on clients before that are here. What
breaks one is answered in JSON, after the answers that are still due, and the connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from snn_fusion.serving import limits
from snn_fusion.serving.guard import HEADERS
from snn_fusion.serving.kinds import JSON
from snn_fusion.serving.logs import correlate, log
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.reading import Reader

NAME = f"{__name__}:Timely"  # as uvicorn imports it
STOPPING = Problem(503, "service", "is stopping", "ask another, or again later", retry_after=1)

SMALL = Problem(400, "body", "holds too little beside its chunks' sizes", f"{limits.CHUNK} bytes a chunk or more")


class _Refused(Exception):
    """Ends llhttp's work."""


class Timely(HttpToolsProtocol):
    """A clock runs from a connection's start, and from a request's first byte, to the end of the request's head."""

    _clock: asyncio.TimerHandle | None = None
    _in_body = False
    _outside = _body = _chunks = _unwanted = _fields = 0  # of this request; the first two and _unwanted in bytes
    _owed = 0  # answers that are still to come
    _raised: Problem | None = None  # in one of llhttp's calls
    _problem: Problem | None = None  # what ends the connection
    _written = False  # the answer that says so

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reader = Reader(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._reader.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._problem is not None:  # nothing that follows is looked at
            self._unwanted += len(data)
            if self._written and self._unwanted > limits.UNWANTED:
                self.transport.close()
            return
        if not self._answering:  # also empty lines, which begin no request, and a body whose answer is out already
            self._start()
        self._outside += len(data)
        super().data_received(data)
        if self._problem is None and not self.transport.is_closing():
            self._check_sizes(len(data))

    def _check_sizes(self, size: int) -> None:
        if self._in_body and not self._answering:
            self._unwanted += size
            if self._unwanted > limits.UNWANTED:
                self.transport.close()
        if self._in_body and self._outside > limits.OUTSIDE + self._body // 8:
            self._end(SMALL)
        elif not self._in_body and self._outside > limits.OUTSIDE:
            self._end(Problem(431, "request", "its head is too long", f"at most {limits.OUTSIDE:,} bytes"))

    # What llhttp calls. What is raised here ends its work, and comes out as send_400_response.

    def on_message_begin(self) -> None:
        self._outside = self._body = self._chunks = self._unwanted = self._fields = 0
        if len(self.pipeline) >= limits.PIPELINED:
            what = f"more than {limits.PIPELINED} wait on one connection"
            self._raise(Problem(429, "request", what, "read the answers first"))
        super().on_message_begin()
        self._start()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > limits.URL:
            self._raise(Problem(414, "path", "is too long", f"at most {limits.URL:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > limits.HEADERS:
            self._raise(Problem(431, "request", "has too many headers", f"at most {limits.HEADERS}"))
        if not self._in_body:  # what stands in a trailer was not there when the head was checked
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop()
        self._in_body = True
        before = self.cycle
        super().on_headers_complete()
        self._owed += self.cycle is not before  # a stream has none

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > limits.CHUNKS and self._body < limits.CHUNK * self._chunks:
            self._raise(SMALL)

    def on_body(self, body: bytes) -> None:
        self._outside = max(0, self._outside - len(body))
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop()
        self._in_body = False
        self._outside = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop()
        self._in_body = False
        if self._answering:
            self._end(Problem(400, "request", "asks for a stream behind another request", "a connection of its own"))
        elif self._refusing:
            self._end(STOPPING)
        else:
            super().handle_websocket_upgrade()

    # Answers

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader.stop()

    def on_response_complete(self) -> None:
        self._owed -= 1
        super().on_response_complete()
        if self.transport.is_closing():
            self._reader.start()  # it waits for its last bytes to be read
        elif self._problem is not None and not self._answering:
            self._write(self._problem)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, stopping if self._refusing else app)

    @property
    def _refusing(self) -> bool:
        return getattr(self.server_state, "refusing", False)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer here."""
        return not self._answering and self._problem is None

    def send_400_response(self, msg: str) -> None:
        self._end(self._raised or Problem(400, "request", "cannot be read", "HTTP/1.1"))

    def _raise(self, problem: Problem) -> None:
        self._raised = problem
        raise _Refused  # not the problem, which is kept: an exception holds the frames it came through, and their data

    @property
    def _answering(self) -> bool:
        return self._owed > 0

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
        """Answer in the application's place, in its turn, and close the connection."""
        if self._problem is not None or self.transport.is_closing():
            return
        self._problem = problem
        self._stop()
        if self._in_body and self._answering:
            self._give_up_body()
        elif not self._answering:
            self._write(problem)

    def _give_up_body(self) -> None:
        """The newest request is the one that this is about: the problem is its answer."""
        if self.pipeline:
            self.pipeline.popleft()  # not begun yet; one before it is being answered
            self._owed -= 1
            return
        self._owed -= 1
        self.cycle.disconnected = True  # what it still says goes nowhere
        self.cycle.message_event.set()
        if self.cycle.response_started:
            self.transport.close()
        else:
            self._write(self._problem or STOPPING)

    def _write(self, problem: Problem) -> None:
        if self._written or self.transport.is_closing():
            return
        self._written = True
        request_id = correlate(None)
        body = msgspec.json.encode(problem.body())
        headers = {
            **HEADERS,
            **{"X-Request-ID": request_id, "Content-Type": JSON, "Content-Length": str(len(body))},
            "Connection": "close",
        }
        if problem.retry_after is not None:
            headers["Retry-After"] = str(problem.retry_after)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[problem.status] + lines.encode() + b"\r\n" + body)
        self.transport.write_eof()
        self.loop.call_later(limits.LINGER_S, self.transport.close)  # at once would reset it, and lose the answer
        self._reader.start()
        log.info("request", extra={"fields": {"status": problem.status, "refused": problem.problem}})


async def stopping(_scope: Any, receive: Any, send: Any) -> None:
    """The application while requests in flight are ended: no further one is taken.

    Its body is read all the same: a connection that is closed before is reset, and the answer lost.
    """
    request_id, body = correlate(None), msgspec.json.encode(STOPPING.body())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while (await receive()).get("more_body"):
                pass
    given = HEADERS | {"X-Request-ID": request_id, "Content-Type": JSON, "Content-Length": str(len(body))}
    given |= {"Connection": "close", "Retry-After": str(STOPPING.retry_after)}
    headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": STOPPING.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    log.info("request", extra={"fields": {"status": STOPPING.status, "refused": STOPPING.problem}})
