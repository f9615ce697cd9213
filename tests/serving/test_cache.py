"""Answers that were given before, in memory and in a real Redis, and what happens without it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from snn_fusion.errors import BadInput
from snn_fusion.serving import cache
from snn_fusion.serving.app import create
from snn_fusion.serving.body import begun_digest
from snn_fusion.serving.cache import InMemory, InRedis, identity, key
from snn_fusion.serving.kinds import JSON, MSGPACK
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from tests.serving.made import as_json, comparable, recording
from tests.serving.running import free_port
from tests.serving.watching import LOCAL, NEVER, value


@contextlib.contextmanager
def client(model: Model, **settings: Any) -> Iterator[TestClient]:
    with TestClient(create(Settings(pressure_ms=NEVER, **settings), lambda _: model), LOCAL) as made:
        yield made


def ask(client: TestClient, seed: int, **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/predict", json=as_json(recording(seed)), headers=headers).json()
    return answer


def test_the_second_answer_is_the_first_without_its_timing(small_model: Model) -> None:
    with client(small_model) as one:
        first, second = ask(one, 1), ask(one, 1)
        assert not first["cached"] and second["cached"]
        assert "timing_ms" in first and "timing_ms" not in second
        assert comparable(first) == comparable(second)
        assert value(one, "cache_total", result="hit") == 1 and value(one, "cache_total", result="miss") == 1


def test_what_was_asked_for_longest_ago_is_forgotten(small_model: Model) -> None:
    with client(small_model, cache=2) as one:
        assert [ask(one, seed)["cached"] for seed in (1, 2, 1, 3, 1, 2)] == [False, False, True, False, True, False]


def test_a_cache_of_no_answers_keeps_none(small_model: Model) -> None:
    with client(small_model, cache=0) as one:
        assert [ask(one, 1)["cached"] for _ in range(2)] == [False, False]


def test_the_same_bytes_of_another_content_type_are_another_request(small_model: Model) -> None:
    ways = [begun_digest(kind, gzipped).digest() for kind in (JSON, MSGPACK) for gzipped in (False, True)]
    assert len(set(ways)) == len(ways)


def test_a_key_names_content_model_arithmetic_and_steps(small_model: Model) -> None:
    models = [
        small_model,
        replace(small_model, version="2"),
        replace(small_model, arithmetic="loihi2"),
        replace(small_model, artefact="another"),
        replace(small_model, accuracy={"fused": [0.5]}),
        replace(small_model, graph=replace(small_model.graph, digest="another")),
    ]
    keys = {key(content, identity(m), steps) for content in (b"1", b"2") for m in models for steps in (20, 50)}
    assert len(keys) == 2 * len(models) * 2


def test_a_wrong_recording_is_refused_each_time(small_model: Model) -> None:
    with client(small_model) as one:
        for _ in range(2):
            assert one.post("/v1/predict", json={"audio": {"samples": [], "rate": 8000}}).status_code == 422


def test_a_url_that_is_none_of_redis_is_refused_without_repeating_it() -> None:
    with pytest.raises(BadInput, match="redis://HOST:PORT") as refused:
        InRedis("http://user:secret@host", lambda: None)
    assert "secret" not in str(refused.value)


def test_without_redis_answers_are_computed_and_it_is_said_once(
    small_model: Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "AGAIN_S", 0.0)  # tried again by each request
    with client(small_model, redis=f"redis://:secret@127.0.0.1:{free_port()}/0") as one:
        answers = [ask(one, 1) for _ in range(3)]
        assert [answer["cached"] for answer in answers] == [False] * 3
        assert value(one, "cache_total", result="failed") == 6  # a look-up and a keeping each
    said = [record.getMessage() for record in caplog.records if "the cache is down" in record.getMessage()]
    assert len(said) == 1 and "secret" not in caplog.text


def test_a_redis_that_says_nothing_costs_one_request_little_and_the_next_nothing(small_model: Model) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with client(small_model, redis=f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as one:
            started = time.monotonic()
            assert not ask(one, 1)["cached"]
            assert time.monotonic() - started < 2
            ask(one, 2)
            assert value(one, "cache_total", result="failed") == 1  # left alone since


class Redis:
    """A real one, on a port of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port, self._program, self._folder = free_port(), program, folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._process = subprocess.Popen([*command, str(self._folder)], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server: apt install redis-server")
    made = Redis(program, tmp_path)
    made.start()
    yield made
    made.kill()


def test_services_share_answers_in_redis_and_go_on_while_it_is_killed(
    redis: Redis, small_model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "AGAIN_S", 0.2)
    monkeypatch.setattr(cache, "REDIS_S", 2.0)  # a busy computer is no dead Redis
    caplog.set_level(logging.WARNING)
    with client(small_model, redis=redis.url) as one, client(small_model, redis=redis.url) as other:
        first = ask(one, 1)
        assert not first["cached"]
        shared = ask(other, 1)
        assert shared["cached"] and comparable(shared) == comparable(first)

        redis.kill()
        alone = [ask(one, 1) for _ in range(5)]
        assert {answer["cached"] for answer in alone} == {False}
        assert all(comparable(answer) == comparable(first) for answer in alone)
        assert (value(one, "cache_total", result="failed") or 0) >= 1
        assert caplog.text.count("the cache is down") == 1

        redis.start()
        time.sleep(0.3)
        assert not ask(one, 1)["cached"]  # it has forgotten
        assert ask(other, 1)["cached"]


def test_rubbish_in_redis_is_a_miss(redis: Redis) -> None:
    async def look() -> dict[str, Any] | None:
        failures: list[int] = []
        one = InRedis(redis.url, lambda: failures.append(1))
        await one._client.set("key", b"\xc1 this is no answer")
        found = await one.get("key")
        await one.close()
        assert failures == [1]
        return found

    assert asyncio.run(look()) is None


def test_memory_holds_at_most_what_it_may() -> None:
    async def fill() -> int:
        one = InMemory(3)
        for n in range(10):
            await one.put(str(n), {"n": n})
        return len(one._kept)

    assert asyncio.run(fill()) == 3
