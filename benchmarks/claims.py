"""The deployment guide's figures beside ours, each by a stated definition: `make bench ARGS="--only claims"`, after
`make demo`. Those of updates, failover and uptime come from `--only failover`, since they need the whole stack.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import numpy as np
from engine.machine import describe
from section import RESULTS, replace, show
from serving import CLIENTS, JSON, requests, sounds
from serving_load import Requests, Running, ask, running

from snn_fusion.serving.keys import make_key
from snn_fusion.serving.tokens import Role, issue
from snn_fusion.workspace import Workspace

BEGIN, END = '<!-- claims: make bench ARGS="--only claims --write" -->', "<!-- /claims -->"
POPULAR, ASKED = 250, 1_000  # recordings, and requests for them, of the traffic that fills the cache
SLOW_S, SLOW = 0.1, 64  # uploads that each take so long on the line
HEAD = ["figure", "the guide", "measured", "what is measured"]
SERVICE = (sys.executable, "-P", "-m", "snn_fusion.serving.parent")


@contextmanager
def service(graph: Path, **settings: str) -> Iterator[Running]:
    own = {"SNN_FUSION_SERVE_MODEL": str(graph), "SNN_FUSION_SERVE_PRESSURE_MS": "60000", "SNN_FUSION_SERVE_CACHE": "0"}
    own |= {f"SNN_FUSION_SERVE_{name.upper()}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as home, running(SERVICE, Path(home), own, "/ready") as started:
        yield started


def threads(graph: Path, asked: Requests) -> tuple[list[str], list[str]]:
    """Rows of the speed-up by threads and of the response time."""
    cores = os.cpu_count() or 1
    rate, p99 = {}, 0.0
    for count in (1, cores):
        with service(graph, threads=str(count)) as started:
            ask(started.port, asked, 640, CLIENTS)
            load = ask(started.port, asked, 4_000, CLIENTS)
            rate[count], p99 = load.rate, 1000 * float(np.percentile(load.latencies, 99))
    what = (
        f"requests a second with {cores} threads over those with one, {CLIENTS} clients, {cores} cores, which are "
        f"the bound; the connections take their share"
    )
    speed = ["threading speed-up", "3.96x", f"{rate[cores] / rate[1]:.2f}x", what]
    return speed, [
        "response time",
        "under 100 ms",
        f"{p99:.0f} ms",
        f"99th percentile, {CLIENTS} clients that each wait",
    ]


def cache(graph: Path, bodies: Sequence[bytes]) -> list[str]:
    """Traffic as it is said to be: the second most popular recording is asked for half as often as the first (Zipf)."""
    weights = 1 / np.arange(1, len(bodies) + 1)
    drawn = np.random.default_rng(0).choice(len(bodies), ASKED, p=weights / weights.sum())
    hits = 0
    with service(graph, cache="4096") as started, httpx.Client(base_url=f"http://127.0.0.1:{started.port}") as client:
        for which in drawn:
            answer = client.post("/v1/predict", content=bodies[which], headers={"Content-Type": "application/json"})
            hits += answer.raise_for_status().json()["cached"]
    what = (
        f"answers from the cache, {ASKED:,} requests for {len(bodies)} recordings with Zipf's popularity; the rate "
        "belongs to the traffic, and is 0 % where every recording is new"
    )
    return ["cache hit rate", "66 %", f"{100 * hits / ASKED:.0f} %", what]


def slow_uploads(graph: Path, body: bytes) -> list[str]:
    """Waiting for the network does not keep others waiting."""

    async def one(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body[:-1])
        await asyncio.sleep(SLOW_S)
        writer.write(body[-1:])
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        writer.close()

    async def together(port: int) -> None:
        await asyncio.gather(*(one(port) for _ in range(SLOW)))

    async def in_turn(port: int) -> None:
        for _ in range(SLOW):
            await one(port)

    seconds = []
    with service(graph) as started:
        for ways in (in_turn, together):
            began = time.perf_counter()
            asyncio.run(ways(started.port))
            seconds.append(time.perf_counter() - began)
    what = f"{SLOW} uploads of {1000 * SLOW_S:.0f} ms each on the line: time one after the other, over all at once"
    return ["concurrent I/O", "4.0x", f"{seconds[0] / seconds[1]:.0f}x", what]


def memory(graph: Path, body: bytes) -> list[str]:
    """What a burst of large batches took, and what of it is given back."""
    batch = b'{"recordings":[' + b",".join([body] * 64) + b"]}"
    asked = Requests("/v1/predict/batch", "application/json", [batch], lambda *_: True)
    peak = 0
    with service(graph) as started:
        ask(started.port, asked, 16, 1)  # after it, all that is loaded once has been
        before = started.memory
        for _ in range(4):
            ask(started.port, asked, 8, 8)
            peak = max(peak, started.memory)
        ask(started.port, Requests("/v1/predict", "application/json", [body], lambda *_: True), 200, 1)
        after = started.memory
    what = (
        f"resident memory after 32 batches of 64 recordings, against before: {before / 1e6:.0f}, {peak / 1e6:.0f} "
        f"between the bursts, then {after / 1e6:.0f} MB"
    )
    grown = f"{(after - before) / 1e6:+.0f} MB"
    return ["memory reclaimed", "85 %", grown, what]


def threats(graph: Path, body: bytes) -> list[str]:
    """Each hostile request once; a refusal is an answer of its own status, from a service that then still answers."""
    with tempfile.TemporaryDirectory() as folder:
        keys, other = Path(folder) / "keys", Path(folder) / "other"
        for place in (keys, other):
            place.mkdir()
            make_key(place, "bench", "EdDSA")
        signed, foreign = (place / "bench.private.json" for place in (keys, other))
        good = issue(signed, "bench", Role.PREDICTOR, 1, "snn-fusion", "snn-fusion").token
        forged = issue(foreign, "bench", Role.PREDICTOR, 1, "snn-fusion", "snn-fusion").token
        with service(graph, keys=str(keys / "keys.json")) as started:
            refused = {name: sent(started.port, raw) in wanted for name, raw, wanted in hostile(good, forged, body)}
            assert sent(started.port, posted(good, body)) == 200
    for name, ended in refused.items():
        print(f"{'refused' if ended else 'NOT REFUSED'}: {name}")
    what = (
        "hostile requests of benchmarks/claims.py that are refused by their own status; a share of the unknown ones "
        "has no meaning ([what was tried](security.md))"
    )
    return ["threat detection", "81.8 %", f"{sum(refused.values())} of {len(refused)}", what]


def posted(token: str, body: bytes, more: str = "", path: str = "/v1/predict", length: bool = True) -> bytes:
    """A request as bytes; `more` are further header lines."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}"
    head += "" if "Content-Type" in more else "Content-Type: application/json\r\n"
    return (head + (f"Content-Length: {len(body)}\r\n" if length else "") + "\r\n").encode() + body


def hostile(good: str, forged: str, body: bytes) -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Name, bytes, and the statuses that are right."""
    unsigned = ".".join(("eyJhbGciOiJub25lIn0", good.split(".")[1], ""))
    zeros = gzip.compress(b'{"audio":{"rate":8000,"samples":[' + b"0," * 8_300_000 + b"0]}}")
    yield "no token", posted("", body), (401,)
    yield "a token of another key", posted(forged, body), (401,)
    yield "a token that is not signed", posted(unsigned, body), (401,)
    yield "a role that may not", posted(good, b"", path="/api/models/1/promote"), (403,)
    yield "a URL of 100 kB", posted(good, body, path="/" + "a" * 100_000), (414, 400)
    yield "a header of 1 MB", posted(good, body, f"X-A: {'a' * 1_000_000}\r\n"), (431,)
    yield "10,000 headers", posted(good, body, "X: y\r\n" * 10_000), (431,)
    yield "8 million zeros in 16 kB", posted(good, zeros, "Content-Encoding: gzip\r\n"), (413, 422)
    yield "10,000 brackets", posted(good, b"[" * 10_000), (400, 422)
    yield "a pickle", posted(good, b"\x80\x04N.", "Content-Type: application/octet-stream\r\n"), (415,)
    yield "two lengths", posted(good, body, "Content-Length: 3\r\n"), (400,)
    yield "a length and chunks", posted(good, body, "Transfer-Encoding: chunked\r\n"), (400,)
    yield "a path out of the folder", posted(good, b"", path="/../../etc/passwd"), (404, 400, 405)


def sent(port: int, raw: bytes) -> int:
    """The status of the answer; 0 for none."""
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        with contextlib.suppress(OSError):  # answered and closed before all was sent
            one.sendall(raw)
        try:
            head = one.recv(64)
        except OSError:
            return 0
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0


FIXED = [
    [
        "replicas",
        "2 to 20",
        "2 to 20",
        "the HorizontalPodAutoscaler in `k8s/base`, validated; not seen on a cluster",
    ],
    [
        "backups kept",
        "30 days",
        "30 days",
        "`SNN_FUSION_BACKUP_KEEP_DAYS`; tests expire older ones",
    ],
    [
        "failover, zero downtime",
        "under 30 s, 0 failed",
        "[its table](#predictions-while-something-happens)",
        "its own command",
    ],
    ["uptime", "99.9 %", "not measured", "needs a soak of an hour with faults"],
    ["test coverage", "85 %", "not measured", "lines; tests check behaviour in processes of their own, which hide it"],
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update docs/results.md")
    options = parser.parse_args()
    ws = Workspace.default()
    graph, given = ws.path("trained", "graph"), sounds(ws, POPULAR)
    asked = requests(graph, given[:64])[JSON]
    bodies = [msgspec.json.encode({"audio": {"samples": one, "rate": 8000}}) for one in given]
    measures: list[Callable[[], list[str]]] = [
        lambda: cache(graph, bodies),
        lambda: slow_uploads(graph, bodies[0]),
        lambda: memory(graph, bodies[0]),
        lambda: threats(graph, bodies[0]),
    ]
    rows = [*threads(graph, asked), *(measure() for measure in measures), *FIXED]
    show(HEAD, rows)
    if options.write:
        lines = ["## The guide's figures", "", '    make bench ARGS="--only claims --write"', ""]
        lines += [f"On {describe()}.", "", f"| {' | '.join(HEAD)} |", "| --- | --- | --- | --- |"]
        replace(RESULTS, BEGIN, END, "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
