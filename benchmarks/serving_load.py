"""A service as a process, and clients that ask it over plain sockets: cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STARTS_S = 120
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Requests:
    """What is asked, in turn: `bodies` to `path`; `check` says of the answer to body i whether it is the right one."""

    path: str
    content_type: str
    bodies: Sequence[bytes]
    check: Callable[[int, bytes], bool]


@dataclass(frozen=True)
class Load:
    """What became of some requests: seconds that each took, and all of them."""

    latencies: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


@dataclass
class Running:
    """`ready_s`: seconds from the command to the first answer of its ready route."""

    port: int
    process: subprocess.Popen[bytes]
    ready_s: float = 0.0

    @property
    def memory(self) -> int:
        """Bytes that the process that answers has in memory: of all that were started, the largest."""
        parent = psutil.Process(self.process.pid)
        return max(int(one.memory_info().rss) for one in (parent, *parent.children(recursive=True)))


def replaced(service: Running, ready: str) -> float:
    """Seconds from the kill of the process that answers to the first answer of the one that replaces it."""
    (worker,) = psutil.Process(service.process.pid).children()
    worker.kill()
    worker.wait()
    killed = time.perf_counter()
    while not _answers(service.port, ready):
        if time.perf_counter() - killed > STARTS_S:
            raise RuntimeError("the process that was killed was not replaced")
        time.sleep(0.01)
    return time.perf_counter() - killed


@contextlib.contextmanager
def running(command: Sequence[str], home: Path, settings: Mapping[str, str], ready: str) -> Iterator[Running]:
    """What the command serves, on a free loopback port, with its files in `home`; ended at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SNN_FUSION_SERVE_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "NUMBA_CACHE_DIR": "", "PYTHONPATH": path}
    started, log = time.perf_counter(), home / f"{port}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**inherited, **own, **settings},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    made = Running(port, process)
    try:
        while not _answers(port, ready):
            if process.poll() is not None or time.perf_counter() - started > STARTS_S:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        made.ready_s = time.perf_counter() - started
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return one.recv(64).startswith(b"HTTP/1.1 200")
    return False


def ask(port: int, requests: Requests, count: int, clients: int) -> Load:
    """`count` requests by `clients` that each wait for their answers. Raises RuntimeError at a wrong one."""
    return asyncio.run(_ask(port, requests, count, clients))


async def _ask(port: int, requests: Requests, count: int, clients: int) -> Load:
    left, latencies = iter(range(count)), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in left:
            which = turn % len(requests.bodies)
            started = time.perf_counter()
            status, content = await _post(reader, writer, requests, requests.bodies[which])
            latencies.append(time.perf_counter() - started)
            if status != 200 or not requests.check(which, content):
                raise RuntimeError(f"{requests.path}: another answer than expected: {status} {content[:300]!r}")
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(latencies, time.perf_counter() - started)


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Requests, body: bytes
) -> tuple[int, bytes]:
    head = f"POST {requests.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {requests.content_type}\r\n"
    writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
