"""Buckets by a clock of the test's own; Redis where one is installed, and its absence everywhere."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
import redis

from snn_fusion.errors import BadInput
from snn_fusion.serving import rates as module
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.rates import Rates
from snn_fusion.serving.tokens import Identity, Role
from tests.serving.running import free_port

ANNA, BERT = Identity("anna", Role.PREDICTOR, "a"), Identity("bert", Role.PREDICTOR, "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def taken(rates: Rates, identity: Identity = ANNA, writes: bool = False) -> int:
    """0, or the seconds to wait."""
    try:
        await rates.take(identity, writes)
    except Problem as problem:
        if problem.status != 429:
            raise
        assert problem.retry_after is not None
        return problem.retry_after
    return 0


def run(work: Callable[[], Coroutine[None, None, list[int]]]) -> list[int]:
    return asyncio.run(work())


def test_a_burst_is_let_through_then_one_request_a_period() -> None:
    clock = Clock()
    rates = Rates(0.25, 3, clock=clock)

    async def work() -> list[int]:
        first = [await taken(rates) for _ in range(5)]
        clock.now += 3
        still = await taken(rates)
        clock.now += 1
        return [*first, still, await taken(rates), await taken(rates)]

    assert run(work) == [0, 0, 0, 4, 4, 1, 0, 4]


def test_one_identity_does_not_use_up_anothers() -> None:
    rates = Rates(0.25, 1, clock=Clock())

    async def work() -> list[int]:
        return [await taken(rates, who) for who in (ANNA, ANNA, BERT, BERT)]

    assert run(work) == [0, 4, 0, 4]


def test_a_second_token_brings_no_second_bucket() -> None:
    rates = Rates(0.25, 1, clock=Clock())

    async def work() -> list[int]:
        return [await taken(rates, Identity("anna", Role.PREDICTOR, token)) for token in ("a", "b")]

    assert run(work) == [0, 4]


def test_what_a_batch_owes_is_waited_for_by_the_next_request() -> None:
    clock = Clock()
    rates = Rates(0.25, 2, clock=clock)

    async def work() -> list[int]:
        first = await taken(rates)
        await rates.owe(ANNA, 3)
        return [first, await taken(rates), await taken(rates, BERT)]

    assert run(work) == [0, 12, 0]


def test_buckets_stay_bounded_and_an_empty_one_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    clock = Clock()
    rates = Rates(1, 2, clock=clock)

    async def work() -> list[int]:
        for i in range(30):
            clock.now += 0.3
            await taken(rates, Identity(f"s{i}", Role.VIEWER, "t"))
            await taken(rates)
        return [len(rates._buckets), await taken(rates)]

    kept, wait = run(work)
    assert kept <= 10 and wait == 1


def test_rate_0_is_no_limit() -> None:
    rates = Rates(0, 0)

    async def work() -> list[int]:
        return [await taken(rates) for _ in range(1000)]

    assert not any(run(work))


@pytest.mark.parametrize(
    ("rate", "burst", "url", "message"),
    [(1, 0.5, "", "SERVE_BURST: is 0.5"), (1, 1, "http://:secret@host", "SERVE_REDIS: is not a URL of a Redis")],
)
def test_what_makes_no_sense_is_refused_and_passwords_are_not_quoted(
    rate: float, burst: float, url: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as found:
        Rates(rate, burst, url)
    assert "secret" not in str(found.value)


@pytest.fixture
def silent() -> Iterator[str]:
    """A Redis that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield f"redis://127.0.0.1:{one.getsockname()[1]}"


def test_without_redis_writes_are_refused_and_predictions_get_the_local_limit(silent: str) -> None:
    for url in (f"redis://127.0.0.1:{free_port()}", silent):
        rates = Rates(0.25, 2, url)

        async def work(rates: Rates = rates) -> list[int]:
            started = time.perf_counter()
            predictions = [await taken(rates) for _ in range(3)]
            with pytest.raises(Problem, match="cannot check the limits now") as found:
                await taken(rates, writes=True)
            assert found.value.status == 503
            assert found.value.retry_after == 1
            assert time.perf_counter() - started < 4 * module.WITHIN_S  # not each of them waits for it
            return predictions

        assert run(work) == [0, 0, 4]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server (Debian: apt install redis-server)")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    process = start(program, port, folder)
    yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def start(program: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            redis.Redis(port=port).ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    return process


def test_services_share_the_buckets_in_redis(server: str) -> None:
    redis.Redis.from_url(server).flushall()
    one, other = Rates(0.25, 3, server), Rates(0.25, 3, server)

    async def work() -> list[int]:
        asked = [(one, ANNA), (other, ANNA), (one, ANNA), (other, ANNA), (one, BERT)]
        return [await taken(rates, who) for rates, who in asked]

    assert run(work) == [0, 0, 0, 4, 0]
    kept = redis.Redis.from_url(server)
    assert all(0 < int(kept.pttl(key)) <= 13_000 for key in kept.keys("snn-fusion:rate:*"))
    assert not [key for key in kept.keys("*") if b"anna" in key]


def test_redis_gives_the_same_waits_as_the_local_buckets(server: str) -> None:
    redis.Redis.from_url(server).flushall()

    async def work() -> list[int]:
        rates = Rates(2, 2, server)
        first = [await taken(rates) for _ in range(3)]
        await asyncio.sleep(0.6)  # by Redis's own clock
        return [*first, await taken(rates), await taken(rates)]

    assert run(work) == [0, 0, 1, 0, 1]


def test_what_a_batch_owes_is_owed_to_all_services(server: str) -> None:
    redis.Redis.from_url(server).flushall()
    one, other = Rates(0.25, 2, server), Rates(0.25, 2, server)

    async def work() -> list[int]:
        first = await taken(one)
        await one.owe(ANNA, 3)
        return [first, await taken(other), await taken(other, BERT)]

    assert run(work) == [0, 12, 0]
    kept = redis.Redis.from_url(server)
    assert 16_000 < max(int(kept.pttl(key)) for key in kept.keys("snn-fusion:rate:*")) <= 17_000


def test_redis_revokes_a_token_for_all_services_even_without_a_limit(server: str) -> None:
    redis.Redis.from_url(server).flushall()
    redis.Redis.from_url(server).set("snn-fusion:revoked:a", 1, ex=60)
    for rate in (0, 5):
        rates = Rates(rate, 5, server)

        async def work(rates: Rates = rates) -> list[int]:
            with pytest.raises(Problem, match="is revoked") as found:
                await taken(rates)
            assert found.value.status == 401
            return [await taken(rates, BERT)]

        assert run(work) == [0]


def test_redis_is_asked_again_when_it_is_back(tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server (Debian: apt install redis-server)")
    port, clock = free_port(), Clock()
    rates = Rates(1, 50, f"redis://127.0.0.1:{port}", clock)

    async def work() -> list[int]:
        with pytest.raises(Problem, match="cannot check"):
            await taken(rates, writes=True)
        process = start(program, port, tmp_path)
        try:
            clock.now += module.PAUSE_S
            return [await taken(rates, writes=True)]
        finally:
            process.terminate()
            process.wait()

    assert run(work) == [0]
