"""Clients that ask over TLS connections which they keep, in one process and light enough not to be what is measured."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

CLIENTS = 16
ANSWER_S = 35.0  # longer than nginx waits
CLOSED = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, BrokenPipeError)


@dataclass(frozen=True)
class Client:
    """Where to, trusting this certificate, and one token for each connection."""

    host: str
    port: int
    trusted: Path
    tokens: tuple[str, ...]

    async def connection(self, trust: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=trust, server_hostname=self.host)

    def head(self, number: int, length: int) -> bytes:
        return (
            f"POST /v1/predict HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/msgpack\r\n"
            f"Authorization: Bearer {self.tokens[number]}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


@dataclass(frozen=True)
class Expected:
    """Sounds as request bodies that differ in their last four bytes, and the label that each must be answered with."""

    bodies: tuple[bytes, ...]
    labels: tuple[bytes, ...]

    @classmethod
    async def asked(cls, client: Client, sounds: Sequence[Any]) -> Expected:
        """With the labels that the service gives now. Raises RuntimeError if it gives none."""
        bodies, labels, trust = [], [], context(client)
        reader, writer = await client.connection(trust)
        for sound in sounds:
            samples = np.append(np.array(sound["samples"], "<f4"), np.float32(0))
            body = msgspec.msgpack.encode({"audio": {"rate": sound["rate"], "samples": samples.tobytes()}})
            status, content, _ = await exchange(reader, writer, client.head(0, len(body)), body)
            if status != 200:
                raise RuntimeError(f"no answer to begin with: {status} {content[:300]!r}")
            bodies.append(body[:-4])
            labels.append(b'"label":' + msgspec.json.encode(msgspec.json.decode(content)["label"]) + b",")
        writer.close()
        return cls(tuple(bodies), tuple(labels))

    def body(self, turn: int) -> bytes:
        """Ends with a sample below 4e-5, which cannot be heard; 134 million turns have different ones."""
        return self.bodies[turn % len(self.bodies)] + np.uint32(0x30000000 + turn % 0x08000000).tobytes()

    def right(self, turn: int, content: bytes) -> bool:
        return self.labels[turn % len(self.labels)] in content


def _shortened(content: bytes) -> bool:
    """Whether there was no time for all steps; then the label may be another one."""
    said = msgspec.json.decode(content)
    return bool(said["steps"] < said["steps_total"])


@dataclass
class Load:
    """When each right answer came (time.perf_counter) and how long it took, in seconds; what failed, by why.

    `resent`: requests of which a connection was closed before a byte of the answer; `shortened`: answers with another
    label after fewer than all steps, for want of time.
    """

    answered: list[tuple[float, float]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    shortened: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return len(self.answered) + sum(self.failed.values())

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def gap(self) -> float:
        """The longest time without any right answer, s."""
        times = sorted(at for at, _ in self.answered)
        return max((later - one for one, later in pairwise(times)), default=self.seconds)

    def ms(self, percentile: float) -> float:
        return 1000 * float(np.percentile([took for _, took in self.answered], percentile))


def context(client: Client) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(client.trusted))


async def load(client: Client, expected: Expected, count: int, rate: float, over: threading.Event) -> Load:
    """At least `count` requests, and on until `over` is set; `rate` a second of all clients, 0: as fast as can be."""
    result, trust, began = Load(), context(client), time.perf_counter()
    salt = int(time.time()) * 1000  # the cache may remember the recordings of an earlier run
    turns = iter(range(10**9))

    async def work(number: int) -> None:
        connection = None
        for turn in turns:
            if turn >= count and over.is_set():
                break
            if rate:
                await asyncio.sleep(max(0.0, began + turn / rate - time.perf_counter()))
            since = time.perf_counter()
            why, connection = await _ask(client, trust, expected, number, salt + turn, connection, result)
            ended = time.perf_counter()
            if why:
                result.failed[why] += 1
            else:
                result.answered.append((ended, ended - since))

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    result.seconds = time.perf_counter() - began
    return result


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter] | None


async def _ask(
    client: Client,
    trust: ssl.SSLContext,
    expected: Expected,
    number: int,
    turn: int,
    connection: Connection,
    result: Load,
) -> tuple[str, Connection]:
    """Why there was no right answer, if so, and the connection if it can be used again."""
    body = expected.body(turn)
    head = client.head(number, len(body))
    kept = connection is not None
    while True:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = connection or await client.connection(trust)
                status, content, keeps = await exchange(reader, writer, head, body)
        except CLOSED as error:
            if kept and not getattr(error, "partial", b""):  # as browsers and curl do (RFC 9112, 9.3.1)
                kept, connection = False, None
                result.resent += 1
                continue
            return type(error).__name__, None
        except (OSError, TimeoutError) as error:
            return type(error).__name__, None
        if not keeps:
            writer.close()
        again = (reader, writer) if keeps else None
        if status != 200:
            return _refused(status, content), again
        if expected.right(turn, content):
            return "", again
        if not _shortened(content):
            return "another label", again
        result.shortened += 1
        return "", again


def _refused(status: int, content: bytes) -> str:
    """Without what differs between requests."""
    try:
        error = msgspec.json.decode(content)["error"]
        return f"{status} {error['field']}: {error['problem']}"
    except (ValueError, KeyError, TypeError):
        return str(status)


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, body: bytes
) -> tuple[int, bytes, bool]:
    """Status, content, and whether the connection is kept."""
    writer.write(head + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length), b"connection: close" not in lines
