"""More requests than there is time for: fewer steps, then 429, each visible; and a service that is told to end."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from starlette.testclient import TestClient

from snn_fusion.serving import workers
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.workers import Workers
from tests.serving.made import CODE, as_json, recording
from tests.serving.running import served
from tests.serving.watching import LOCAL, altered, value, value_at

STEPS = CODE.steps
DRAIN_S = 3.0  # between SIGTERM and the last connection that is taken


async def piled_up(one: Workers, count: int, gate: threading.Event) -> list[asyncio.Task[Any]]:
    """So many pieces of work that wait for the gate."""
    tasks = [asyncio.create_task(one.run(gate.wait)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_readiness_goes_first_then_steps_then_requests() -> None:
    async def pile() -> list[tuple[bool, float | None]]:
        one, gate, seen = Workers(1, 4.0), threading.Event(), []
        one._mean, tasks = 0.8, []  # seconds each: 5 before a newcomer are the pressure
        for _ in range(14):
            try:
                got = one.share()
            except Problem as problem:
                got = None
                assert problem.status == 429 and problem.retry_after == 9  # 11 of 0.8 s are before it
                break
            finally:
                seen.append((one.pressed, got))
            tasks += await piled_up(one, 1, gate)
        gate.set()
        await asyncio.gather(*tasks)
        one.close()
        return seen

    seen = asyncio.run(pile())
    shares = [got for _, got in seen]
    assert shares[0] == 1.0 and shares[-1] is None
    assert shares == sorted(shares, key=lambda got: -(got or 0.0))  # never more again while it piles up
    assert {1.0, 0.6, 0.4, None} == set(shares)
    assert all(pressed for pressed, got in seen if got != 1.0)


def test_work_that_takes_far_longer_than_before_counts_by_what_waits_behind_it() -> None:
    async def stuck() -> tuple[float, float]:
        one, gate = Workers(1, 0.05), threading.Event()
        tasks = await piled_up(one, 2, gate)
        at_first = one.wait
        await asyncio.sleep(0.15)
        later = one.wait
        with pytest.raises(Problem, match="too many requests wait"):
            one.share()
        gate.set()
        await asyncio.gather(*tasks)
        one.close()
        return at_first, later

    at_first, later = asyncio.run(stuck())
    assert at_first < later and later >= 0.15


def test_a_free_thread_means_no_waiting() -> None:
    async def one_of_two() -> float:
        one, gate = Workers(2, 0.01), threading.Event()
        tasks = await piled_up(one, 1, gate)
        found = one.wait
        gate.set()
        await asyncio.gather(*tasks)
        one.close()
        return found

    assert asyncio.run(one_of_two()) == 0.0


def test_pressure_is_still_shown_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HOLD_S", 1.0)

    async def pressed() -> list[bool]:
        one, gate = Workers(1, 0.001), threading.Event()
        tasks = await piled_up(one, 2, gate)
        with contextlib.suppress(Problem):
            one.share()
        gate.set()
        await asyncio.gather(*tasks)
        seen = [one.pressed]
        await asyncio.sleep(1.1)
        one.close()
        return [*seen, one.pressed]

    assert asyncio.run(pressed()) == [True, False]


def test_what_is_cancelled_while_it_waits_is_not_done() -> None:
    async def leave() -> list[str]:
        one, gate, done = Workers(1, 1.0), threading.Event(), []
        tasks = await piled_up(one, 1, gate)
        left = asyncio.create_task(one.run(lambda: done.append("left")))
        stays = asyncio.create_task(one.run(lambda: done.append("stays")))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks, stays)
        await one.drained()
        one.close()
        return done

    assert asyncio.run(leave()) == ["stays"]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def test_under_pressure_an_answer_says_its_steps_and_their_accuracy(small_model: Model, gate: threading.Event) -> None:
    """One recording is held; how many wait behind it decides what the others get."""
    accuracy = {"imu": [step / STEPS for step in range(1, STEPS + 1)]}
    model = replace(altered(small_model, gate.wait), accuracy=accuracy)
    app = create(Settings(threads=1, pressure_ms=4000.0), lambda _: model)
    gate.set()  # the service answers once before it is ready
    with TestClient(app, LOCAL) as client, ThreadPoolExecutor(14) as clients, contextlib.ExitStack() as on_the_way_out:
        gate.clear()
        on_the_way_out.callback(gate.set)
        client.app.state.service.workers._mean = 0.8  # type: ignore[attr-defined]
        waiting: list[Any] = []
        for seed in range(14):
            body = as_json(recording(seed, "imu"))
            waiting.append(clients.submit(client.post, "/v1/predict", json=body))
            _until(lambda n=seed: arrived(client) > n)
        assert client.get("/ready").status_code == 503
        assert client.get("/ready").json()["why"] == "under pressure"
        gate.set()
        answers = [one.result() for one in waiting]

        found = collections.Counter(one.json()["steps"] if one.status_code == 200 else 429 for one in answers)
        assert set(found) == {STEPS, 30, 20, 429} and found[STEPS] >= 2
        for one in answers:
            if one.status_code == 200:
                said = one.json()
                assert said["steps_total"] == STEPS and said["accuracy"] == said["steps"] / STEPS
            else:
                assert int(one.headers["Retry-After"]) >= 1
                assert one.json()["error"]["field"] == "service"
        assert value(client, "degraded_total", how="fewer_steps") == found[30] + found[20]
        assert value(client, "degraded_total", how="refused") == found[429]
        assert value(client, "requests_total", route="/v1/predict", status="429") == found[429]

        answer = client.post("/v1/predict", json=as_json(recording(0, "imu")))
        assert answer.status_code == 200 and answer.json()["cached"]  # what is known costs no time


def arrived(client: TestClient) -> float:
    """Requests that wait, run or were refused."""
    service = client.app.state.service  # type: ignore[attr-defined]
    return float(service.workers.waiting + service.workers._running + _refused(client))


def _refused(client: TestClient) -> float:
    return value(client, "requests_total", route="/v1/predict", status="429") or 0.0


def _until(holds: Any, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.002)


def test_a_batch_is_shortened_or_refused_as_a_whole(small_model: Model, gate: threading.Event) -> None:
    app = create(Settings(threads=1, pressure_ms=0.0, cache=0), lambda _: small_model)
    body = {"recordings": [as_json(recording(seed, "imu")) for seed in range(16)]}
    with TestClient(app, LOCAL) as client:
        answers = client.post("/v1/predict/batch", json=body).json()["answers"]
        assert {answer["steps"] for answer in answers} == {STEPS}  # one share, though each waits for those before
        service = client.app.state.service  # type: ignore[attr-defined]
        held = client.portal.start_task_soon(service.workers.run, gate.wait)  # type: ignore[union-attr]
        _until(lambda: service.workers._running == 1)
        refused: Any = None

        def send() -> None:
            nonlocal refused
            refused = client.post("/v1/predict", json=body["recordings"][0])

        thread = threading.Thread(target=send)
        thread.start()
        thread.join(20)
        gate.set()
        held.result()
        assert refused.status_code == 429


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    """A connection each request: one that is kept may be closed just when the next request is on its way."""
    with httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as made:
        yield made


@pytest.fixture(scope="module")
def pressed(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running service of one thread that is soon under pressure, and says so for a while when it ends."""
    folder = tmp_path_factory.mktemp("pressed")
    with served(small_graph, folder, pressure_ms=20, threads=1, cache=0, drain_s=DRAIN_S) as url:
        yield url


def test_a_running_service_bends_under_load_and_recovers(pressed: str, web: httpx.Client) -> None:
    """While a batch is worked off, single recordings find first no time, then time for some of the steps."""
    bodies = [as_json(recording(seed, "imu")) for seed in range(8)]
    red: set[str] = set()

    def ask(n: int) -> httpx.Response:
        return web.post(f"{pressed}/v1/predict", json=bodies[n % len(bodies)])

    def load() -> None:
        answer = web.post(f"{pressed}/v1/predict/batch", json={"recordings": bodies * 8})
        assert answer.status_code == 200 or "Retry-After" in answer.headers

    def look() -> None:
        answer = web.get(f"{pressed}/ready")
        if answer.status_code == 503:
            red.add(answer.json()["why"])

    with ThreadPoolExecutor(4) as clients:
        loads = [clients.submit(load) for _ in range(15)]
        answers = [one.result() for _ in range(40) for one in [clients.submit(ask, n) for n in range(3)]]
        look()
        for one in loads:
            one.result()
    assert {one.status_code for one in answers} <= {200, 429}
    assert all("Retry-After" in one.headers for one in answers if one.status_code == 429)
    shortened = sum(one.json()["steps"] < STEPS for one in answers if one.status_code == 200)
    assert red <= {"under pressure"}
    found = (
        value_at(pressed, "degraded_total", how="fewer_steps") or 0,
        value_at(pressed, "degraded_total", how="refused"),
    )
    assert sum(one or 0 for one in found) > 0 and found[0] >= shortened

    _until(lambda: web.get(f"{pressed}/ready").status_code == 200)
    assert ask(0).json()["steps"] == STEPS


def test_sigterm_turns_ready_red_and_whatever_was_taken_is_answered(pressed: str, web: httpx.Client) -> None:
    body, batch = as_json(recording(1)), {"recordings": [as_json(recording(seed, "imu")) for seed in range(8)] * 8}
    content = msgspec.json.encode(body)
    halfway = http.client.HTTPConnection(pressed.removeprefix("http://"), timeout=60)
    halfway.putrequest("POST", "/v1/predict")
    halfway.putheader("Content-Type", "application/json")
    halfway.putheader("Content-Length", str(len(content)))
    halfway.endheaders(content[:1000])

    process = _process(pressed)
    with ThreadPoolExecutor(4) as clients:
        in_flight = [clients.submit(web.post, f"{pressed}/v1/predict/batch", json=batch) for _ in range(4)]
        os.kill(process.pid, signal.SIGTERM)
        _until(lambda: web.get(f"{pressed}/ready").json().get("why") == "draining")
        assert web.get(f"{pressed}/ready").status_code == 503
        assert web.post(f"{pressed}/v1/predict", json=body).status_code in (200, 429)  # sent before red was noticed
        found = [one.result() for one in in_flight]
    assert {200} <= {one.status_code for one in found} <= {200, 429}
    for answers in (one.json()["answers"] for one in found if one.status_code == 200):
        assert len(answers) == 64 and all("label" in one for one in answers)

    time.sleep(DRAIN_S + 0.5)  # now the server waits for this one alone
    halfway.send(content[1000:])
    answer = halfway.getresponse()
    assert answer.status == 200 and "label" in msgspec.json.decode(answer.read())
    halfway.close()
    assert process.wait(20) == 0


def _process(url: str) -> psutil.Process:
    """The command that was started: the parent of the one that listens there."""
    port = url.rpartition(":")[2]
    (found,) = [one for one in psutil.Process().children() if port in one.cmdline()]
    return found
