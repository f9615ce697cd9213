"""Over real sockets: bodies that never end, that crawl, and that no client library would send."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import httpx
import pytest

from snn_fusion.serving import limits
from snn_fusion.serving.app import create
from snn_fusion.serving.settings import Settings
from tests.serving.made import as_json, encoded, recording
from tests.serving.raw import Reply, connected, head
from tests.serving.running import in_thread

GOOD = encoded(as_json(recording(1, "imu")))
JSON = {"Content-Type": "application/json"}
CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}


@pytest.fixture
def server(small_model, monkeypatch) -> Iterator[str]:
    """The application in this process, so that its limits can be made small; on a real socket."""
    monkeypatch.setattr(limits, "BODY_S", 0.5)
    monkeypatch.setattr(limits, "HEAD_S", 0.4)
    with in_thread(create(Settings(), lambda _: small_model)) as url:
        yield url


def answered(url: str) -> bool:
    return httpx.post(f"{url}/v1/predict", content=GOOD, headers=JSON).status_code == 200


def test_a_body_that_crawls_is_given_up(server) -> None:
    async def crawl() -> Reply:
        async with connected(server) as connection:
            connection.writer.write(head("/v1/predict", {**JSON, "Content-Length": str(len(GOOD))}))
            started = asyncio.get_running_loop().time()
            reply = asyncio.create_task(connection.reply())
            for position in range(len(GOOD)):
                connection.writer.write(GOOD[position : position + 1])
                if (await asyncio.wait([reply], timeout=0.02))[0]:
                    break
            assert asyncio.get_running_loop().time() - started < 5
            return await reply

    reply = asyncio.run(crawl())
    assert reply.status == 408
    assert b"did not arrive within 0.5 s" in reply.body
    assert reply.headers["connection"] == "close"
    assert answered(server)


HEAD = head("/v1/predict", {**JSON, "Content-Length": str(len(GOOD))})


async def given_up(url: str, parts: list[bytes], pause_s: float = 0.0) -> tuple[Reply, float]:
    """The answer to a head that comes in parts and never ends, and the seconds that it took; then it hangs up."""
    async with connected(url) as connection:
        started = asyncio.get_running_loop().time()
        reply = asyncio.create_task(connection.reply())
        for part in parts:
            if reply.done():
                break
            connection.writer.write(part)
            await asyncio.sleep(pause_s)
        found = await reply
        took = asyncio.get_running_loop().time() - started
        with contextlib.suppress(ConnectionResetError):  # what was sent after the end meets a closed connection
            assert await connection.reader.read() == b""
    return found, took


def refused_late(reply: Reply, seconds: float) -> None:
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["field"], error["limit"]) == (408, "request", "send it at once")
    assert error["problem"] == f"its head did not arrive within {seconds:g} s"
    assert reply.headers["x-request-id"] == error["request_id"] and reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("parts", "pause_s"),
    [
        ([], 0.0),
        ([HEAD[:30]], 0.0),
        ([bytes([one]) for one in HEAD], 0.01),
        ([b"\r\n"] * 200, 0.01),
        ([HEAD[:-2], *[b"X-More: 1\r\n"] * 50], 0.05),
    ],
    ids=["nothing", "half a head", "a byte at a time", "empty lines", "header after header"],
)
def test_a_head_that_does_not_end_is_given_up(server, parts, pause_s) -> None:
    reply, took = asyncio.run(given_up(server, parts, pause_s))
    refused_late(reply, 0.4)
    assert 0.3 < took < 2
    assert answered(server)


def test_a_kept_connection_is_given_up_in_the_head_of_its_second_request_and_not_while_it_idles(server) -> None:
    async def second() -> Reply:
        async with connected(server) as connection:
            for _ in range(2):
                assert (await connection.post("/v1/predict", GOOD, JSON)).status == 200
                await asyncio.sleep(0.8)
            connection.writer.write(HEAD[:40])
            return await connection.reply()

    refused_late(asyncio.run(second()), 0.4)


def test_half_a_head_behind_a_request_does_not_take_that_ones_answer(server, monkeypatch) -> None:
    monkeypatch.setattr(limits, "HEAD_S", 0.05)

    async def behind() -> tuple[Reply, Reply]:
        async with connected(server) as connection:
            connection.writer.write(HEAD + GOOD[:-1])
            await asyncio.sleep(0.2)  # its body may take longer
            connection.writer.write(GOOD[-1:] + HEAD[:40])
            return await connection.reply(), await connection.reply()

    first, late = asyncio.run(behind())
    assert first.status == 200
    refused_late(late, 0.05)


@pytest.mark.parametrize("line", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_not_http_gets_a_refusal_in_json(service, line) -> None:
    reply, _ = asyncio.run(given_up(service, [line]))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["field"], error["problem"]) == (400, "request", "cannot be read")
    assert reply.headers["content-type"] == "application/json"
    assert answered(service)


def test_the_running_service_gives_up_silent_and_slow_clients_alike(service) -> None:
    async def several() -> list[tuple[Reply, float]]:
        crawling = [HEAD[:-2], *[b"X-More: 1\r\n"] * 30]
        return await asyncio.gather(
            given_up(service, []), given_up(service, [HEAD[:30]]), given_up(service, crawling, 1.0)
        )

    for reply, took in asyncio.run(several()):
        refused_late(reply, 10)
        assert 9 < took < 13
    assert answered(service)


def test_many_crawling_bodies_do_not_keep_others_from_their_answers(server) -> None:
    async def crawl() -> Reply:
        async with connected(server) as connection:
            connection.writer.write(head("/v1/predict", {**JSON, "Content-Length": str(len(GOOD))}) + GOOD[:10])
            return await connection.reply()

    async def all_of_them() -> tuple[list[Reply], list[Reply]]:
        crawling = [asyncio.create_task(crawl()) for _ in range(100)]
        await asyncio.sleep(0.1)
        async with connected(server) as connection:
            good = [await connection.post("/v1/predict", GOOD, JSON) for _ in range(10)]
        return good, list(await asyncio.gather(*crawling))

    good, crawled = asyncio.run(all_of_them())
    assert {one.status for one in good} == {200}
    assert {one.status for one in crawled} == {408}


def test_a_chunked_body_without_end_is_refused_once_it_is_too_large(service) -> None:
    async def endless() -> Reply:
        async with connected(service) as connection:
            connection.writer.write(head("/v1/predict", CHUNKED))
            reply = asyncio.create_task(connection.reply())
            part, sent = b"10000\r\n" + b" " * 0x10000 + b"\r\n", 0
            with contextlib.suppress(ConnectionError):
                while not reply.done() and sent < 4 * limits.BODY:
                    connection.writer.write(part)
                    await connection.writer.drain()
                    sent += 0x10000
            assert sent < 4 * limits.BODY
            return await reply

    reply = asyncio.run(endless())
    assert reply.status == 413
    assert b"at most 16,777,216 bytes" in reply.body
    assert answered(service)


def test_a_length_that_is_too_large_is_refused_before_anything_is_read(service) -> None:
    async def boast() -> Reply:
        async with connected(service) as connection:
            connection.writer.write(head("/v1/predict", {**JSON, "Content-Length": str(10**12)}))
            return await connection.reply()

    assert asyncio.run(boast()).status == 413
    assert answered(service)


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "9" * 30, "5, 6"])
def test_a_length_that_is_none_closes_the_connection(service, length) -> None:
    async def odd() -> int:
        async with connected(service) as connection:
            connection.writer.write(head("/v1/predict", {**JSON, "Content-Length": length}) + GOOD)
            return (await connection.reply()).status

    assert asyncio.run(odd()) in (400, 413)
    assert answered(service)


def test_a_client_that_hangs_up_in_the_middle_is_forgotten(service) -> None:
    async def hang_up() -> None:
        async with connected(service) as connection:
            connection.writer.write(head("/v1/predict", {**JSON, "Content-Length": str(len(GOOD))}) + GOOD[:100])
            await connection.writer.drain()

    for _ in range(20):
        asyncio.run(hang_up())
    assert answered(service)


ROUTES = ("/v1/predict", "/v1/predict/batch", "/v1/spikes", "/v1/stream", "/health", "/ready", "/metrics", "/docs", "/")
BENTOS = ("/livez", "/readyz", "/healthz", "/schema.json", "/docs.json", "/static_content/index.css", "/SnnFusion")


@pytest.mark.parametrize("path", [*ROUTES, *BENTOS])
def test_pickle_is_never_read(service, path) -> None:
    """BentoML unpickles such bodies for services that are called by others; nothing here does."""
    body = b"cos\nsystem\n(S'exit 1'\ntR."
    answer = httpx.post(f"{service}{path}", content=body, headers={"Content-Type": "application/vnd.bentoml+pickle"})
    assert answer.status_code in (403, 404, 405, 415), answer.text
    assert answered(service)


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fetc%2fpasswd", "/static_content/..%2f..%2fservice.py", "/v1/..%00", "/%ff"]
)
def test_paths_lead_nowhere(service, path) -> None:
    answer = httpx.get(f"{service}{path}")
    assert answer.status_code in (400, 404)
    assert b"root:" not in answer.content and b"import" not in answer.content
