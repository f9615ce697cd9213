"""Over real sockets: what a connection sends outside a body is bounded, and each excess gets its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from snn_fusion.serving import limits
from snn_fusion.serving.app import create
from snn_fusion.serving.settings import Settings
from tests.serving.raw import Reply, connected
from tests.serving.running import in_thread

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
MOST = 4 * 2**20  # bytes after which a server without limits would still read


@pytest.fixture(scope="module")
def server(small_model) -> Iterator[str]:
    with in_thread(create(Settings(), lambda _: small_model)) as url:
        yield url


async def sent(url: str, opening: bytes, more: bytes) -> tuple[Reply, int]:
    """The answer to what does not end, and the bytes that were sent until it came; the connection is closed then."""
    async with connected(url) as connection:
        reply, size = asyncio.create_task(connection.reply()), 0
        connection.writer.write(opening)
        block = more * max(1, 4096 // len(more))
        while not reply.done() and size < MOST:
            with contextlib.suppress(ConnectionError):
                connection.writer.write(block)
                await connection.writer.drain()
            size += len(block)
            await asyncio.sleep(0.002)
        found = await asyncio.wait_for(reply, 5)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(connection.reader.read(), 5) == b""
    return found, size


@pytest.mark.parametrize(
    ("opening", "more", "status", "problem"),
    [
        (b"GET /", b"a", 414, "is too long"),
        (b"GET /health?", b"a=%41&", 414, "is too long"),
        (GET + b"X: ", b"a", 431, "its head is too long"),
        (GET + b"X: ", b"a" * 999 + b"\r\nX: ", 431, "its head is too long"),
        (GET, b"a:\r\n", 431, "has too many headers"),
        (b"", b"\r\n", 431, "its head is too long"),
        (CHUNKED + b"0\r\nX: ", b"a", 400, "holds too little beside its chunks' sizes"),
        (CHUNKED + b"0\r\n", b"a:\r\n", 431, "has too many headers"),
        (CHUNKED + b"1;", b"a=b;", 400, "holds too little beside its chunks' sizes"),
        (CHUNKED, b"0", 400, ""),
        (CHUNKED, b"1\r\n \r\n", 400, "holds too little beside its chunks' sizes"),
        (CHUNKED, b"1;" + b"a" * 1000 + b"\r\n \r\n", 400, "holds too little beside its chunks' sizes"),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"a:\r\n", 431, "has too many headers"),
    ],
    ids=[
        *(
            "a URL",
            "a query",
            "one header",
            "long headers",
            "tiny headers",
            "empty lines",
            "a trailer",
            "tiny trailers",
        ),
        *("an extension", "a chunk's size", "chunks of one byte", "extensions", "a stream's head"),
    ],
)
def test_what_does_not_end_is_refused_by_name_soon_and_the_connection_closed(
    server: str, opening: bytes, more: bytes, status: int, problem: str
) -> None:
    reply, size = asyncio.run(sent(server, opening, more))
    assert reply.status == status and reply.headers["connection"] == "close"
    assert json.loads(reply.body)["error"]["problem"].startswith(problem)
    assert size < 2**20
    assert httpx.get(f"{server}/health").status_code == 200


def test_nothing_is_kept_of_what_refused_connections_sent(server: str) -> None:
    """While they linger, and later: an exception that is kept would hold what the socket's reads returned."""

    async def refused() -> int:
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(connected(server)) for _ in range(50)]
            before = tracemalloc.get_traced_memory()[0]
            for one in connections:
                one.writer.write(CHUNKED + b"1\r\n \r\n" * 32_768)
                assert (await one.reply()).status == 400
            return tracemalloc.get_traced_memory()[0] - before

    asyncio.run(refused())  # what is made once
    tracemalloc.start()
    kept = asyncio.run(refused())
    tracemalloc.stop()
    assert kept < 2 * 2**20


@pytest.mark.parametrize("fits", [True, False])
def test_the_limits_are_those_that_are_named(server: str, fits: bool) -> None:
    path = f"/health?{'a' * (limits.URL - len('/health?') + (not fits))}"
    assert httpx.get(f"{server}{path}").status_code == (200 if fits else 414)
    own = len(httpx.Client().headers) + 1  # and Host
    headers = {f"X-{i}": "1" for i in range(limits.HEADERS - own + (not fits))}
    assert httpx.get(f"{server}/health", headers=headers).status_code == (200 if fits else 431)


def test_a_body_in_small_chunks_and_with_a_trailer_is_read(server: str) -> None:
    body = json.dumps({"audio": {"samples": [0.1, -0.1] * 4000, "rate": 8000}}).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for i in range(0, len(body), 64) if (one := body[i : i + 64]))

    async def ask() -> Reply:
        async with connected(server) as connection:
            connection.writer.write(CHUNKED + parts + b"0\r\nX-Checksum: 1\r\n\r\n")
            return await connection.reply()

    assert asyncio.run(ask()).status == 200


def test_a_trailer_is_no_header(server: str) -> None:
    """Else what was refused in a head, or counted there, could come behind the body."""

    async def ask() -> list[int]:
        async with connected(server) as connection:
            found = []
            for _ in range(2):  # the trailer must not stay for the next request either
                connection.writer.write(CHUNKED + b"2\r\n{}\r\n0\r\nHost: evil.example\r\nX-Model: nobody\r\n\r\n")
                found.append((await connection.reply()).status)
            return found

    assert asyncio.run(ask()) == [422, 422]


def test_pipelined_requests_are_answered_in_turn_up_to_a_limit(server: str) -> None:
    async def ask(count: int) -> list[int]:
        async with connected(server) as connection:
            connection.writer.write((GET + b"\r\n") * count)
            found = []
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while len(found) < count:
                    found.append((await connection.reply()).status)
            return found

    assert asyncio.run(ask(limits.PIPELINED)) == [200] * limits.PIPELINED
    found = asyncio.run(ask(5000))
    assert found[-1] == 429 and set(found[:-1]) == {200} and limits.PIPELINED <= len(found) - 1 < 5000


def test_a_refusal_waits_for_the_answers_before_it(server: str) -> None:
    body = json.dumps({"audio": {"samples": [0.1, -0.1] * 4000, "rate": 8000}}).encode()

    async def ask(behind: bytes) -> list[int]:
        async with connected(server) as connection:
            connection.writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + behind)
            return [(await connection.reply()).status, (await connection.reply()).status]

    for behind, status in (
        (b"GARBAGE\r\n\r\n", 400),
        (GET + b"a:\r\n" * 200, 431),
        (CHUNKED + b"0\r\n" + b"a:\r\n" * 200, 431),
    ):
        assert asyncio.run(ask(behind)) == [200, status]


def test_answers_that_nobody_reads_are_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNREAD_S", 0.3)

    async def hold() -> float:
        async with connected(server) as connection:
            connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - started < 30:
                    connection.writer.write(b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n" * limits.PIPELINED)
                    await asyncio.wait_for(connection.writer.drain(), 30)
                    await asyncio.sleep(0.05)
            return time.monotonic() - started

    assert asyncio.run(hold()) < 20
    assert httpx.get(f"{server}/health").status_code == 200


def test_a_body_that_goes_on_after_its_answer_is_cut_off(server: str) -> None:
    async def push() -> int:
        async with connected(server) as connection:
            connection.writer.write(GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n")
            assert (await connection.reply()).status == 405
            size = 0
            with contextlib.suppress(ConnectionError):
                while size < 64 * 2**20:
                    connection.writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                    await connection.writer.drain()
                    size += 0x10000
            return size

    assert asyncio.run(push()) < 32 * 2**20


def test_a_stream_that_is_asked_for_behind_a_request_is_refused(server: str) -> None:
    upgrade = GET.replace(b"/health", b"/v1/stream") + (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    async def ask() -> list[int]:
        async with connected(server) as connection:
            connection.writer.write(GET + b"\r\n" + upgrade)
            return [(await connection.reply()).status, (await connection.reply()).status]

    assert asyncio.run(ask()) == [200, 400]


@pytest.mark.parametrize(
    ("opcode", "first", "count"),
    [
        (Opcode.PING, None, limits.CONTROLS),
        (Opcode.PONG, None, limits.CONTROLS),
        (Opcode.CONT, Opcode.TEXT, limits.FRAGMENTS),
    ],
    ids=["pings", "pongs", "empty fragments"],
)
def test_a_stream_of_frames_that_say_nothing_is_closed(
    server: str, opcode: Opcode, first: Opcode | None, count: int
) -> None:
    with connect(f"ws{server.removeprefix('http')}/v1/stream") as stream:
        block = Frame(opcode, b"", fin=opcode is not Opcode.CONT).serialize(mask=True) * (count + 100)
        if first is not None:
            block = Frame(first, b"", fin=False).serialize(mask=True) + block
        with contextlib.suppress(ConnectionError):
            stream.socket.sendall(block)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=10)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
    assert httpx.get(f"{server}/health").status_code == 200


def test_many_messages_at_once_are_answered_one_after_another(server: str) -> None:
    with connect(f"ws{server.removeprefix('http')}/v1/stream") as stream:
        stream.send(json.dumps({"start": ["audio"]}))
        chunk = json.dumps({"audio": {"samples": [0.1, -0.1] * 40, "rate": 8000}})
        for _ in range(100):
            stream.send(chunk)
        stream.send(json.dumps({"end": True}))
        while not (answer := json.loads(stream.recv(timeout=30))).get("final"):
            assert "status" not in answer
    assert answer["senses"] == ["audio"]


def test_messages_of_a_stream_that_come_faster_than_they_are_answered_are_not_kept(server: str) -> None:
    """The sender is slowed down: what it gets rid of in a second is what buffers of sockets hold."""
    size, most = 0, 64 * 2**20
    with connect(f"ws{server.removeprefix('http')}/v1/stream", close_timeout=0.1) as stream:
        stream.send(json.dumps({"start": ["audio"]}))
        block = Frame(Opcode.TEXT, b"{}").serialize(mask=True) * 8192
        stream.socket.setblocking(False)
        until = time.monotonic() + 1
        while time.monotonic() < until and size < most:
            try:
                size += stream.socket.send(block)
            except BlockingIOError:
                time.sleep(0.01)
    assert size < most / 4
