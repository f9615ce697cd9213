"""The stream: sensor chunks go in as they come, and an answer comes out with each step.

    -> {"start": ["audio", "events"]}            the senses that will come
    -> {"audio": {"samples": [...], "rate": 8000}}   chunks, as in a recording; text is JSON, binary MessagePack
    <- {"steps": 1, "label": "3", "scores": {...}, "margin": 0.2}   one for each step that is over
    -> {"end": true}
    <- {"final": true, "steps": 50, ...}         all that /v1/predict says of the whole recording

Under pressure it ends after fewer steps, or is refused; how many it gets is settled when it is opened.

A message is answered before the next one is read, so a sender that is too fast is slowed down by its own connection.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.websockets import WebSocket, WebSocketDisconnect

from snn_fusion.data.recording import SENSES, Events, Sense
from snn_fusion.serving import limits
from snn_fusion.serving.answering import share, steps_of, streamed
from snn_fusion.serving.fitting import check_senses, fitting
from snn_fusion.serving.kinds import JSON, MSGPACK
from snn_fusion.serving.model import Model
from snn_fusion.serving.payload import Message, decode
from snn_fusion.serving.predict import concluded
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.query import query
from snn_fusion.serving.session import Session, Step

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service

TRY_LATER, BAD_DATA, GONE = 1013, 1007, 1001


async def stream(socket: WebSocket) -> None:
    service: Service = socket.app.state.service
    await socket.accept()
    end = "failed"
    try:
        end = await _admitted(socket, service)
    except asyncio.CancelledError:
        end = "left"
        raise
    finally:
        service.metrics.streams.labels(end).inc()


async def _admitted(socket: WebSocket, service: Service) -> str:
    """How it ended."""
    try:
        query(socket)
        part = _share(service)
    except Problem as problem:
        await _refuse(socket, problem, TRY_LATER if problem.status in (429, 503) else BAD_DATA)
        return "refused"
    service.sessions += 1
    try:
        async with asyncio.timeout(limits.STREAM_S):
            await _session(socket, service, part)
    except TimeoutError:
        late = Problem(408, "stream", f"took more than {limits.STREAM_S:g} s", "one recording a stream")
        await _refuse(socket, late, BAD_DATA)
        return "refused"
    except Problem as problem:
        await _refuse(socket, problem, BAD_DATA)
        return "refused"
    except WebSocketDisconnect:
        return "left"
    finally:
        service.sessions -= 1
    return "answered"


def _share(service: Service) -> float:
    """Of the steps, that there is time for. Raises Problem if no stream is taken now."""
    if service.draining:
        raise Problem(503, "stream", "the service is stopping", "open it at another, or later")
    if service.sessions >= limits.SESSIONS:
        raise Problem(429, "stream", f"{service.sessions} are open", f"at most {limits.SESSIONS}")
    return share(service)


class _Feed:
    """The messages of one stream, which a worker takes one after another."""

    def __init__(self, model: Model, most: int) -> None:
        self.model, self.most = model, most
        self.session: Session | None = None
        self.ended = False
        self.crowd = Crowd(model.graph.encoding.step_ms)

    def take(self, content: bytes, kind: str) -> list[Step]:
        """The steps that are over with this message. Raises Problem."""
        message: Message = decode(content, kind, Message)
        if self.session is None:
            self.session = Session(self.model, _announced(message, self.model), self.most)
        elif message.start is not None:
            raise invalid("start", "comes twice", "one recording a stream")
        chunks = fitting(self.model, message, chunk=True)
        if isinstance(seen := chunks.get("events"), Events):
            self.crowd.add(seen.events["t"])
        self.session.push(chunks)
        if message.end:
            self.session.close()
            self.ended = True
        return self.session.steps()


class Crowd:
    """Counts the events of the step that is not over yet, all of which are kept: a clock that stands still ends it."""

    def __init__(self, step_ms: float) -> None:
        self.step_us, self.step, self.count = round(1000 * step_ms), -1, 0

    def add(self, t: npt.NDArray[np.int64]) -> None:
        """Time stamps of a chunk, ascending. Raises Problem."""
        if not len(t):
            return
        step = int(t[-1]) // self.step_us
        here = len(t) - int(t.searchsorted(step * self.step_us))
        self.count = here + (self.count if step == self.step else 0)
        self.step = step
        if self.count > limits.EVENTS:
            raise invalid("events", f"{self.count:,} in one step", f"at most {limits.EVENTS:,}")


async def _session(socket: WebSocket, service: Service, part: float) -> None:
    model = service.model
    feed, last = _Feed(model, steps_of(model, part)), None
    while True:
        content, kind = await _receive(socket)
        for last in await service.workers.run(partial(feed.take, content, kind)):
            await _send(socket, last.body(model.classes), kind)
        session = feed.session
        if session is not None and last is not None and (feed.ended or session.over):
            await _send(socket, {"final": True, **streamed(service, model, concluded(session, last))}, kind)
            return await socket.close()


async def _receive(socket: WebSocket) -> tuple[bytes, str]:
    """The next message, and its content type: text is JSON, binary MessagePack. Raises Problem, WebSocketDisconnect."""
    try:
        async with asyncio.timeout(limits.IDLE_S):
            found = await socket.receive()
    except TimeoutError:
        raise Problem(408, "stream", f"nothing came for {limits.IDLE_S:g} s", "send chunks, or end it") from None
    if found["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(found.get("code", GONE))
    binary = found.get("bytes") is not None
    content: bytes = found["bytes"] if binary else found["text"].encode()
    if len(content) > limits.MESSAGE:
        raise Problem(413, "message", f"{len(content):,} bytes", f"at most {limits.MESSAGE:,}")
    return content, MSGPACK if binary else JSON


def _announced(message: Message, model: Model) -> list[Sense]:
    if not message.start:
        raise invalid("start", "is not there", f"first say which senses come, of {', '.join(SENSES)}")
    found: list[Sense] = [sense for sense in SENSES if sense in message.start]
    if len(found) != len(message.start):
        raise invalid("start", ", ".join(one[:20] for one in message.start[:8]), f"of {', '.join(SENSES)}, each once")
    check_senses(model, found, "start")
    return found


async def _send(socket: WebSocket, content: dict[str, Any], kind: str) -> None:
    if kind == MSGPACK:
        await socket.send_bytes(msgspec.msgpack.encode(content))
    else:
        await socket.send_text(msgspec.json.encode(content).decode())


async def _refuse(socket: WebSocket, problem: Problem, code: int) -> None:
    try:
        await _send(socket, {"status": problem.status, **problem.body()}, JSON)
        await socket.close(code, problem.field.encode("ascii", "replace").decode()[:60])  # at most 123 bytes
    except (RuntimeError, WebSocketDisconnect):
        pass  # it is gone already
