"""Hostile connections against a running service: how much memory it takes, and how long others wait meanwhile.

    snn-fusion serve &
    python benchmarks/attack.py --url http://127.0.0.1:3000 --pid PID      # of that command

Each attack sends from 8 connections for 30 s from a process of its own; a connection that the service closes is opened
again. Meanwhile one client asks as usual. docs/security.md has the outcome.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import psutil

BLOCK = 64 * 1024
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = (
    b"GET /v1/stream HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
WELCOME, MASK = STREAM + b"\r\n", b"\0\0\0\0"
STARTS = b"\x81\x93" + MASK + b'{"start":["audio"]} '[:19]
GET = b"GET /docs HTTP/1.1\r\n" + HOST + b"\r\n"
MOST_MB, MOST_MS = 64, 200


def packed(path: bytes, body: bytes) -> bytes:
    """A whole request whose body is small as sent and large once unpacked."""
    small = gzip.compress(body)
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(small) + small


STROKE = b'{"x":[0],"y":[0]}'
ZEROS = packed(b"/v1/predict", b'{"audio":{"rate":8000,"samples":[' + b"0," * 8_300_000 + b"0]}}")
STROKES = packed(b"/v1/pen", b'{"strokes":[' + STROKE + (b"," + STROKE) * 190_000 + b"]}")


def lasting(last_us: int) -> bytes:
    """A batch of recordings of two readings each, which last so long."""
    channels = {name: [0, 1] for name in ("acc_x", "acc_y", "turn_rate", "contact")}
    one = {"imu": {"t": [0, last_us], "channels": channels}}
    one["events"] = {"t": [0, last_us], "x": [1, 2], "y": [1, 2], "p": [0, 1], "width": 34, "height": 34}
    return packed(b"/v1/predict/batch", json.dumps({"recordings": [one] * 64}).encode())


@dataclass(frozen=True)
class Attack:
    """`opening` once, then `more` without end, in blocks; `pause_s` between blocks; whether answers are read.

    `stream`: what is sent once the answer to `opening` is there, which opens a stream.
    """

    opening: bytes
    more: bytes
    pause_s: float = 0.0
    reads: bool = True
    stream: bytes | None = None
    connections: int | None = None  # other than the usual

    @property
    def block(self) -> bytes:
        return self.more if self.pause_s else self.more * max(1, BLOCK // len(self.more))


ATTACKS = {
    "one header without end": Attack(b"GET /health HTTP/1.1\r\n" + HOST + b"X: ", b"a" * 1000),
    "tiny headers without end": Attack(b"GET /health HTTP/1.1\r\n" + HOST, b"a:\r\n"),
    "1 MB headers without end": Attack(b"GET /health HTTP/1.1\r\n" + HOST, b"X: " + b"a" * 2**20 + b"\r\n"),
    "a URL without end": Attack(b"GET /", b"a" * 1000),
    "a query without end": Attack(b"GET /health?", b"a=%41&"),
    "a method without end": Attack(b"A", b"A" * 1000),
    "a trailer without end": Attack(CHUNKED + b"0\r\nX: ", b"a" * 1000),
    "tiny trailers without end": Attack(CHUNKED + b"0\r\n", b"a:\r\n"),
    "a chunk's extension without end": Attack(CHUNKED + b"1;", b"a=b;"),
    "a chunk's size without end": Attack(CHUNKED, b"0" * 1000),
    "chunks of one byte": Attack(CHUNKED, b"1\r\n \r\n"),
    "chunks with extensions": Attack(CHUNKED, b"1;" + b"a" * 1000 + b"\r\n \r\n"),
    "a body that nobody wants": Attack(
        b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n",
        b"10000\r\n" + b" " * 0x10000 + b"\r\n",
    ),
    "empty lines without end": Attack(b"", b"\r\n"),
    "a head, a byte a second": Attack(b"GET / HTTP/1.1\r\nX: ", b"a", 1.0),
    "connections that say nothing": Attack(b"", b"", 1.0),
    "pipelined requests": Attack(b"", b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"),
    "pipelined requests, answers not read": Attack(b"", b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n", 0.0, False),
    "pipelined pages, answers not read": Attack(b"", GET, 0.0, False),
    "pipelined refusals, answers not read": Attack(b"", b"GET /nothing HTTP/1.1\r\n\r\n", 0.0, False),
    "8.3 million zeros in gzip": Attack(b"", ZEROS),
    "the same on 100 connections": Attack(b"", ZEROS, connections=100),
    "190,000 strokes in gzip": Attack(b"", STROKES),
    "64 recordings of an hour in gzip": Attack(b"", lasting(3_599_999_999)),
    "64 recordings of a minute in gzip": Attack(b"", lasting(60_000_000)),
    "a stream's head without end": Attack(STREAM, b"a:\r\n"),
    "a stream's pings, pongs not read": Attack(WELCOME, b"\x89\xfd" + MASK + b"a" * 125, reads=False, stream=b""),
    "a stream's tiny pings": Attack(WELCOME, b"\x89\x80" + MASK, stream=b""),
    "a stream's empty fragments": Attack(WELCOME, b"\0\x80" + MASK, stream=b"\x01\x80" + MASK),
    "a stream's fragments": Attack(WELCOME, b"\0\xfd" + MASK + b"a" * 125, stream=b"\x01\x80" + MASK),
    "a stream's frame without end": Attack(WELCOME, b"a" * 1000, stream=b"\x81\xff\0\0\0\0\x7f\xff\xff\xff" + MASK),
    "a stream's messages that mean nothing": Attack(WELCOME, b"\x81\x82" + MASK + b"{}", stream=b""),
    "a stream's empty chunks": Attack(WELCOME, b"\x81\x82" + MASK + b"{}", stream=STARTS),
}


def attacking(attack: Attack, host: str, port: int, connections: int, seconds: float) -> dict[str, int]:
    """What became of all connections: a status, `closed` without one, `open` at the end."""
    ends: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + seconds

    def one() -> None:
        while time.monotonic() < until:
            ends[_sent(attack, host, port, until)] += 1

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(ends)


def _sent(attack: Attack, host: str, port: int, until: float) -> str:
    """One connection, until it ends."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as connection:
            waiting, block, got = attack.opening, attack.block, b""
            if attack.stream is not None:
                connection.settimeout(10)
                connection.sendall(attack.opening)
                if status(connection.recv(BLOCK)) != "101":
                    return "no stream"
                connection.settimeout(0.5)
                waiting = attack.stream
            while time.monotonic() < until:
                if attack.reads and select.select([connection], [], [], 0)[0]:
                    part = connection.recv(BLOCK)
                    if not part:
                        return status(got)
                    got = got or part
                try:
                    waiting = waiting[connection.send(waiting) :] if waiting else waiting
                except TimeoutError:
                    continue
                except ConnectionError:
                    return status(got or _rest(connection))
                if not waiting:
                    time.sleep(attack.pause_s)
                    waiting = block
    except TimeoutError:
        return "no connection"
    except ConnectionRefusedError:
        time.sleep(0.1)
        return "refused"
    except OSError:
        return "closed"
    return "open"


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(BLOCK)
    except OSError:
        return b""


def status(got: bytes) -> str:
    return got.split()[1].decode("latin-1") if got.startswith(b"HTTP/1.") and len(got.split()) > 1 else "closed"


class Watch:
    """Another client's waiting times, and the memory of the service's processes, while it is open."""

    def __init__(self, url: str, pid: int) -> None:
        self.parent = psutil.Process(pid)
        self.where = urlsplit(url)
        self.waited: list[float] = []
        self.most = self.memory()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._look)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def memory(self) -> float:
        """MB in memory, of all processes together."""
        total = 0
        for one in (self.parent, *self.parent.children(recursive=True)):
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 1e6

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, self.memory())

    def _ask(self) -> None:
        """Kept alive, as well-behaved clients are, and opened anew each time in turn."""
        body = json.dumps({"audio": {"samples": [0.1, -0.1] * 400, "rate": 8000}}).encode()
        heads = (b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n", POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        kept: socket.socket | None = None
        turn = 0
        while not self._over.wait(0.01):
            turn += 1
            began = time.perf_counter()
            try:
                if turn % 2:
                    kept = kept or self._connect()
                    _answer(kept, heads[turn // 2 % 2])
                else:
                    with self._connect() as new:
                        _answer(new, heads[turn // 2 % 2])
            except OSError:
                kept = None
            self.waited.append(1000 * (time.perf_counter() - began))

    def _connect(self) -> socket.socket:
        return socket.create_connection((self.where.hostname or "", self.where.port or 80), timeout=30)


def _answer(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        if not (part := connection.recv(BLOCK)):
            raise ConnectionResetError
        got += part
    head, _, rest = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(rest) if lengths else 0
    while missing > 0:
        missing -= len(connection.recv(BLOCK))


def measure(name: str, url: str, pid: int, connections: int, seconds: float) -> tuple[float, float, dict[str, int]]:
    """MB that the service grew by, p99 in ms of another client, and how the attacking connections ended."""
    with Watch(url, pid) as watch:
        time.sleep(1)  # what one client alone takes
        before, watch.waited = watch.most, []
        command = [sys.executable, __file__, "--url", url, "--attacker", name]
        command += ["--connections", str(connections), "--seconds", str(seconds)]
        ends: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return watch.most - before, float(np.percentile(watch.waited, 99)), ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--pid", type=int, help="the service's command, whose descendants are counted as well")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--only", help="attacks whose name contains this")
    parser.add_argument("--attacker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    where = urlsplit(options.url)
    if options.attacker:
        attack = ATTACKS[options.attacker]
        connections = attack.connections or options.connections
        ends = attacking(attack, where.hostname or "", where.port or 80, connections, options.seconds)
        print(json.dumps(ends))
        return 0
    bad = 0
    print(f"| attack, {options.connections} connections, {options.seconds:g} s | MB more | p99 of others, ms | ends |")
    print("|---|---|---|---|", flush=True)
    for name in ATTACKS:
        if options.only and options.only not in name:
            continue
        more, p99, ends = measure(name, options.url, options.pid, options.connections, options.seconds)
        said = ", ".join(f"{key}: {count}" for key, count in sorted(ends.items()))
        print(f"| {name} | {more:.0f} | {p99:.0f} | {said} |", flush=True)
        crowd = ATTACKS[name].connections is not None  # of that only the memory has a limit
        bad += more > MOST_MB or (p99 > MOST_MS and not crowd)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
