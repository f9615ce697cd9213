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
from starlette.websockets import WebSocket, WebSocketDisconnect

from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.serving import limits
from snn_fusion.serving.answering import share, steps_of, streamed
from snn_fusion.serving.kinds import JSON, MSGPACK
from snn_fusion.serving.payload import Message, decode, signals
from snn_fusion.serving.predict import concluded
from snn_fusion.serving.problems import Problem, invalid
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
        part = _share(service)
    except Problem as problem:
        await _refuse(socket, problem, TRY_LATER)
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


async def _session(socket: WebSocket, service: Service, part: float) -> None:
    model, session = service.model, None
    most = steps_of(model, part)
    last: Step | None = None
    while True:
        message, binary = await _receive(socket)
        if session is None:
            session = Session(model, _announced(message), most)
        elif message.start is not None:
            raise invalid("start", "comes twice", "one recording a stream")
        for last in await service.workers.run(partial(_fed, session, message)):
            await _send(socket, last.body(model.classes), binary)
        if last is not None and (message.end or session.over):
            await _send(socket, {"final": True, **streamed(service, model, concluded(session, last))}, binary)
            return await socket.close()


def _fed(session: Session, message: Message) -> list[Step]:
    """The steps that are over with this message."""
    session.push(signals(message, session.code, chunk=True))
    if message.end:
        session.close()
    return session.steps()


async def _receive(socket: WebSocket) -> tuple[Message, bool]:
    """The next message, and whether it was binary. Raises Problem, WebSocketDisconnect."""
    try:
        async with asyncio.timeout(limits.IDLE_S):
            found = await socket.receive()
    except TimeoutError:
        raise Problem(408, "stream", f"nothing came for {limits.IDLE_S:g} s", "send chunks, or end it") from None
    if found["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(found.get("code", GONE))
    binary = found.get("bytes") is not None
    content = found["bytes"] if binary else found["text"].encode()
    if len(content) > limits.MESSAGE:
        raise Problem(413, "message", f"{len(content):,} bytes", f"at most {limits.MESSAGE:,}")
    message: Message = decode(content, MSGPACK if binary else JSON, Message)
    return message, binary


def _announced(message: Message) -> list[Sense]:
    if not message.start:
        raise invalid("start", "is not there", f"first say which senses come, of {', '.join(SENSES)}")
    found: list[Sense] = [sense for sense in SENSES if sense in message.start]
    if len(found) != len(message.start):
        raise invalid("start", ", ".join(one[:20] for one in message.start[:8]), f"of {', '.join(SENSES)}, each once")
    return found


async def _send(socket: WebSocket, content: dict[str, Any], binary: bool) -> None:
    if binary:
        await socket.send_bytes(msgspec.msgpack.encode(content))
    else:
        await socket.send_text(msgspec.json.encode(content).decode())


async def _refuse(socket: WebSocket, problem: Problem, code: int) -> None:
    try:
        await _send(socket, {"status": problem.status, **problem.body()}, False)
        await socket.close(code, problem.field.encode("ascii", "replace").decode()[:60])  # at most 123 bytes
    except (RuntimeError, WebSocketDisconnect):
        pass  # it is gone already
