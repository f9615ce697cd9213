"""What a request costs is bounded before it is paid: counts, memory, the queue, and everybody else's time."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
import tracemalloc
import weakref
from collections.abc import Callable

import httpx
import msgspec
import numpy as np
import pytest
from starlette.testclient import TestClient

from snn_fusion.data.recording import EVENT
from snn_fusion.encoding.events import Stream
from snn_fusion.errors import BadInput
from snn_fusion.serving import limits
from snn_fusion.serving.app import create
from snn_fusion.serving.arrays import numbers
from snn_fusion.serving.body import FREE, Held
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.stream import Crowd
from snn_fusion.serving.workers import Workers
from tests.serving.made import CODE, MSGPACK, as_json, recording
from tests.serving.watching import LOCAL, NEVER

JSON = {"Content-Type": "application/json"}
ZEROS = b",".join([b"0"] * (limits.BODY // 2 - 50))
DEAR: dict[str, tuple[str, bytes, str]] = {
    "strokes": ("/v1/pen", b'{"strokes":[' + b",".join([b'{"x":[0],"y":[0]}'] * 190_000) + b"]}", "body"),
    "points": ("/v1/pen", b'{"strokes":[{"x":[' + ZEROS[:4_000_001] + b'],"y":[0]}]}', "strokes[0].x"),
    "samples": ("/v1/predict", b'{"audio":{"rate":8000,"samples":[' + ZEROS + b"]}}", "audio.samples"),
    "encoded samples": ("/v1/spikes", b'{"audio":{"rate":8000,"samples":[' + ZEROS + b"]}}", "audio.samples"),
    "events": (
        "/v1/predict",
        b'{"events":{"width":34,"height":34,"x":[],"y":[],"p":[],"t":[' + ZEROS[:-100] + b"]}}",
        "events.t",
    ),
    "recordings": ("/v1/predict/batch", b'{"recordings":[' + b"{}," * 1_000_000 + b"{}]}", "body"),
    "channels": (
        "/v1/predict",
        b'{"imu":{"t":[0],"channels":{' + b",".join(b'"%d":[]' % i for i in range(500_000)) + b"}}}",
        "body",
    ),
}


@pytest.mark.parametrize("name", DEAR)
def test_a_small_body_that_unpacks_to_millions_is_refused_by_its_count(client: TestClient, name: str) -> None:
    path, content, field = DEAR[name]
    packed = gzip.compress(content, 6)
    assert len(packed) < len(content) / 4
    unpacked(client)
    tracemalloc.start()
    answer = client.post(path, content=packed, headers={**JSON, "Content-Encoding": "gzip"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
    assert peak < 1.5 * limits.BODY  # as objects these would take hundreds of megabytes; unpacked they are there once


def unpacked(client: TestClient) -> None:
    """Wait for the pause that follows what an earlier test had unpacked."""
    while client.app.state.service.held.bytes:  # type: ignore[attr-defined]
        time.sleep(0.01)


def long_lasting(last_us: int) -> bytes:
    """A batch of two readings each: nothing to send, and much time to look through."""
    readings = {"t": [0, last_us], "channels": {one.name: [0, 1] for one in CODE.imu.channels}}
    events = {"t": [0, last_us], "x": [1, 2], "y": [1, 2], "p": [0, 1], "width": 34, "height": 34}
    return json.dumps({"recordings": [{"imu": readings, "events": events}, {"imu": readings}] * 32}).encode()


def test_a_batch_of_recordings_that_last_an_hour_is_refused_before_any_work(client: TestClient) -> None:
    content = gzip.compress(long_lasting(3_599_999_999))
    assert len(content) < 512
    tracemalloc.start()
    started = time.perf_counter()
    answer = client.post("/v1/predict/batch", content=content, headers={**JSON, "Content-Encoding": "gzip"})
    took, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found = [one["error"] for one in answer.json()["answers"]]
    assert {one["field"].partition(".")[2] for one in found} == {"events.t[1]", "imu.t[1]"}
    assert found[1]["limit"] == "60 s at most"
    assert took < 2 and peak < 2**22  # each one's hops would be tens of megabytes


def test_a_batch_of_recordings_that_last_as_long_as_they_may_costs_no_more_than_others(client: TestClient) -> None:
    def seconds(content: bytes) -> float:
        started = time.perf_counter()
        assert client.post("/v1/predict/batch", content=content, headers=JSON).status_code == 200
        return time.perf_counter() - started

    ordinary = json.dumps({"recordings": [as_json(recording(1))] * 64}).encode()
    seconds(ordinary)
    assert min(seconds(long_lasting(limits.SPAN_US)) for _ in range(3)) < 3 * min(seconds(ordinary) for _ in range(3))


def test_what_was_made_of_a_refused_request_is_freed_at_once() -> None:
    """And not when garbage is looked for, which is never soon: arrays are few objects, however large."""
    made: list[weakref.ref[np.ndarray]] = []

    def work() -> None:
        array = np.zeros(1000)
        made.append(weakref.ref(array))
        try:
            raise BadInput("imu", f"{len(array)} values", "fewer")
        except BadInput as error:
            raise invalid(error.where, error.problem, error.remedy) from None

    async def refused(workers: Workers) -> None:
        with pytest.raises(Problem):
            await workers.run(work)

    async def all_of_them() -> None:
        workers = Workers(2, 600.0)
        await asyncio.gather(*(refused(workers) for _ in range(40)))
        await workers.drained()
        workers.close()

    gc.disable()
    try:
        asyncio.run(all_of_them())
        assert len(made) == 40 and not any(one() is not None for one in made)
    finally:
        gc.enable()


def test_what_messagepack_declares_is_refused_before_it_is_made(client: TestClient) -> None:
    many = msgspec.msgpack.encode({"audio": {"rate": 8000, "samples": [0] * (limits.SAMPLES + 1)}})
    error = client.post("/v1/predict", content=many, headers=MSGPACK).json()["error"]
    assert (error["field"], error["problem"], error["limit"]) == (
        *("audio.samples", "2,000,001 values", "at most 2,000,000"),
    )
    parts = msgspec.msgpack.encode({"recordings": [{}] * (limits.PARTS + 1)})
    error = client.post("/v1/predict/batch", content=parts, headers=MSGPACK).json()["error"]
    assert (error["field"], error["limit"]) == ("recordings", "at most 1,000")


@pytest.mark.parametrize("dtype", ["<f4", "<i8"])
@pytest.mark.parametrize("count", [0, 1, 20_000, 100_003])
def test_pieces_of_a_list_are_the_whole_list(dtype: str, count: int) -> None:
    kind = np.dtype(dtype)
    values = np.random.default_rng(count).normal(0, 1e4, count).astype(kind)
    sent = values.tolist()
    for content in (
        json.dumps(sent).encode(),
        json.dumps(sent, indent=1).encode(),
        msgspec.msgpack.encode(sent),
        msgspec.msgpack.encode(values.tobytes()),
        msgspec.json.encode(values.tobytes()),
    ):
        found = numbers(msgspec.Raw(content), kind, "x", 200_000)
        assert found.dtype == kind
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bad", ['"a, b"', "[1, 2]", "null", "true", '{"a": 1}', '"1"'])
def test_what_is_no_number_is_named_by_its_place_in_the_whole_list(bad: str) -> None:
    text = f"[{'0.125, ' * 50_000}{bad}{', 0.125' * 50_000}]".encode()
    with pytest.raises(Problem) as found:
        numbers(msgspec.Raw(text), np.dtype("<f4"), "audio.samples", 1_000_000)
    assert found.value.field == "audio.samples[50000]"


@pytest.mark.parametrize("sent", [b"null", b"7", b"-1.5", b"true", b'{"a": [1]}', b'"*"', b"\xc0", b"\x81\xa1a\x01"])
def test_what_is_no_array_is_refused(sent: bytes) -> None:
    with pytest.raises(Problem) as found:
        numbers(msgspec.Raw(sent), np.dtype("<f4"), "audio.samples", 10)
    assert (found.value.status, found.value.field) == (422, "audio.samples")


def pressed(model: Model) -> TestClient:
    """A service whose workers have more to do than there is time for."""
    app = create(Settings(pressure_ms=50, cache=0), lambda _: model)
    return TestClient(app, LOCAL, raise_server_exceptions=False)


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.post("/v1/predict", json=as_json(recording(1, "imu"))),
        lambda one: one.post("/v1/predict/batch", json={"recordings": [as_json(recording(1, "imu"))]}),
        lambda one: one.post("/v1/spikes", json=as_json(recording(1, "imu"))),
        lambda one: one.post("/v1/pen", json={"strokes": [{"x": [0.0], "y": [0.0]}]}),
        lambda one: one.get("/v1/examples/3"),
    ],
    ids=["predict", "batch", "spikes", "pen", "examples"],
)
def test_every_route_that_works_is_refused_under_pressure(
    small_model: Model, ask: Callable[[TestClient], httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pressed(small_model) as one:
        assert ask(one).status_code == 200
        monkeypatch.setattr("snn_fusion.serving.workers.Workers.wait", 1.0)
        answer = ask(one)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1


def test_large_bodies_share_a_limit_and_give_it_back(small_model: Model) -> None:
    held = Held(2 * FREE)
    held.add(2 * FREE)
    with pytest.raises(Problem) as found:
        held.add(1)
    assert (found.value.status, found.value.retry_after) == (429, 1)
    with TestClient(create(Settings(pressure_ms=NEVER), lambda _: small_model), LOCAL) as one:
        service = one.app.state.service  # type: ignore[attr-defined]
        service.held.most = FREE
        large = json.dumps(as_json(recording(1, "imu"))).encode() + b" " * (3 * FREE)
        assert one.post("/v1/predict", content=large, headers=JSON).status_code == 429
        small = one.post("/v1/predict", json=as_json(recording(1, "imu")))
        assert small.status_code == 200 and service.held.bytes == 0
        service.held.most = 4 * FREE
        assert one.post("/v1/predict", content=large, headers=JSON).status_code == 200
        service.held.most = 4 * FREE
        packed = one.post("/v1/predict", content=gzip.compress(large), headers={**JSON, "Content-Encoding": "gzip"})
        assert packed.status_code == 429 and service.held.bytes == 0  # what it unpacks to is counted before it is


def test_one_client_may_send_large_bodies_in_gzip_one_after_another_and_waits_for_its_turn(small_model) -> None:
    with TestClient(create(Settings(pressure_ms=NEVER, cache=0), lambda _: small_model), LOCAL) as one:
        started = time.perf_counter()
        for _ in range(12):
            padded = gzip.compress(json.dumps(as_json(recording(1, "imu"))).encode() + b" " * 8 * 2**20, 1)
            answer = one.post("/v1/predict", content=padded, headers={**JSON, "Content-Encoding": "gzip"})
            assert answer.status_code == 200
        assert time.perf_counter() - started > (12 * 8 * 2**20 - limits.BODIES) / limits.UNPACKING
        unpacked(one)


def test_a_small_body_cannot_claim_more_than_it_can_unpack_to(small_model) -> None:
    with TestClient(create(Settings(pressure_ms=NEVER), lambda _: small_model), LOCAL) as one:
        one.app.state.service.held.most = FREE  # type: ignore[attr-defined]
        lying = gzip.compress(b"{}")[:-4] + (limits.BODY).to_bytes(4, "little")
        assert one.post("/v1/predict", content=lying, headers={**JSON, "Content-Encoding": "gzip"}).status_code == 400


def test_dear_requests_keep_nobody_waiting(service: str) -> None:
    """Of a running service: how long the answer to /health takes while such bodies are refused."""
    bodies = [(path, gzip.compress(content, 6)) for path, content, _ in DEAR.values()]
    headers = {**JSON, "Content-Encoding": "gzip"}

    async def attacked() -> tuple[list[float], set[int]]:
        async with httpx.AsyncClient(base_url=service, timeout=60) as one:
            attack = asyncio.gather(
                *(one.post(path, content=body, headers=headers) for _ in range(3) for path, body in bodies)
            )
            took: list[float] = []
            while not attack.done():
                started = time.perf_counter()
                assert (await one.get("/health")).status_code == 200
                took.append(time.perf_counter() - started)
                await asyncio.sleep(0.005)
            return took, {answer.status_code for answer in await attack}

    took, statuses = asyncio.run(attacked())
    assert statuses <= {422, 429}
    assert float(np.median(took)) < 0.2


def test_a_stream_whose_clock_stands_still_is_ended() -> None:
    crowd = Crowd(20.0)
    for _ in range(10):
        crowd.add(np.full(limits.EVENTS // 10, 19_999))
    crowd.add(np.array([20_000]))  # the step is over
    crowd.add(np.zeros(0, np.int64))
    with pytest.raises(Problem) as found:
        crowd.add(np.full(limits.EVENTS, 20_001))
    assert (found.value.status, found.value.field) == (422, "events")


def test_events_that_come_one_by_one_cost_no_more_than_in_one_piece() -> None:
    events = np.zeros(20_000, EVENT)
    events["t"] = np.arange(len(events))  # all in one step
    stream, whole = Stream(34, 34, CODE), Stream(34, 34, CODE)
    started = time.perf_counter()
    for i in range(len(events)):
        assert len(stream.push(events[i : i + 1])) == (1 if i == 20_000 else 0)
    assert time.perf_counter() - started < 5  # a copy of all of them for each would be 2.6 GB
    whole.push(events)
    np.testing.assert_array_equal(stream.close(), whole.close())


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch", "/v1/spikes", "/v1/pen"])
@pytest.mark.parametrize("deep", [b"[", b'{"a":', b'{"audio":[', b'{"imu":{"t":['])
def test_deep_nesting_is_refused(client: TestClient, path: str, deep: bytes) -> None:
    answer = client.post(path, content=deep * 200_000, headers=JSON)
    assert answer.status_code in (400, 422)
