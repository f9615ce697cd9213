"""64 clients at once, each with recordings of its own, get exactly the answers that they get alone."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from snn_fusion.data.recording import SENSES
from tests.serving.made import MSGPACK, as_json, encoded, packed, recording
from tests.serving.raw import connected

CLIENTS, REQUESTS, EACH = 64, 10_000, 4  # EACH: different recordings that a client has
JSON = {"Content-Type": "application/json"}


class Said(msgspec.Struct):
    """What an answer must have in common with the one that was given alone."""

    label: str
    scores: dict[str, float]
    margin: float
    steps: int
    senses: list[str]


def written(number: int) -> tuple[bytes, dict[str, str]]:
    """Recording `number` as a request: each another, of one sense or all, in JSON or packed MessagePack."""
    senses = SENSES if number % 8 == 0 else (SENSES[number % 3],)
    signals = recording(1000 + number, *senses, seconds=0.3)
    if number % 4 == 1:
        return encoded(as_json(signals)), JSON
    return msgspec.msgpack.encode(packed(signals)), MSGPACK


async def ask(connection: Any, request: tuple[bytes, dict[str, str]]) -> Said:
    reply = await connection.post("/v1/predict", *request)
    assert reply.status == 200, reply
    return msgspec.json.decode(reply.body, type=Said)


async def alone(url: str, requests: list[tuple[bytes, dict[str, str]]]) -> list[Said]:
    async with connected(url) as connection:
        return [await ask(connection, one) for one in requests]


async def together(url: str, requests: list[tuple[bytes, dict[str, str]]], wanted: list[Said]) -> int:
    """The number of answers; fails at the first that is another than alone."""
    left = iter(range(REQUESTS))

    async def client(number: int) -> int:
        count = 0
        async with connected(url) as connection:
            for turn in left:
                mine = number + CLIENTS * (turn % EACH)
                assert await ask(connection, requests[mine]) == wanted[mine]
                count += 1
        return count

    return sum(await asyncio.gather(*(client(number) for number in range(CLIENTS))))


def test_64_clients_get_in_10000_requests_the_answers_that_they_get_alone(service) -> None:
    requests = [written(number) for number in range(CLIENTS * EACH)]
    wanted = asyncio.run(alone(service, requests))
    assert len({tuple(one.scores.values()) for one in wanted}) == len(requests)
    assert asyncio.run(together(service, requests, wanted)) == REQUESTS
