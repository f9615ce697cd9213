"""A recording in chunks of any size gives, at every step and to the bit, what the whole gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from snn_fusion.data.recording import SENSES
from snn_fusion.registry.rates import INPUT
from snn_fusion.serving import limits
from snn_fusion.serving.app import create
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.settings import Settings
from snn_fusion.validation.drift import Profile, bins_of
from tests.serving.made import CLASSES, CODE, as_json, cut, graph, packed, recording, taps
from tests.serving.watching import value

START = {"start": list(SENSES)}


def send(socket, message: dict[str, Any], binary: bool = False) -> None:
    if binary:
        socket.send_bytes(msgspec.msgpack.encode(message))
    else:
        socket.send_json(message)


def receive(socket) -> dict[str, Any]:
    """The next answer, of either form. Raises WebSocketDisconnect."""
    found = socket.receive()
    socket._raise_on_close(found)
    return msgspec.json.decode(found["text"]) if found.get("text") else msgspec.msgpack.decode(found["bytes"])


def play(client, messages: list[dict[str, Any]], binary: bool = False) -> list[dict[str, Any]]:
    """All answers to these messages, to the last."""
    with client.websocket_connect("/v1/stream") as socket:
        for message in messages:
            send(socket, message, binary)
        found = []
        while not found or not ("final" in found[-1] or "error" in found[-1]):
            found.append(receive(socket))
    return found


def scores(answers: list[dict[str, Any]]) -> list[list[float]]:
    return [list(one["scores"].values()) for one in answers]


def predicted(client, signals) -> dict[str, Any]:
    return client.post("/v1/predict", json=as_json(signals)).json()


def refusal(client, *messages: dict[str, Any]) -> dict[str, Any]:
    answer = play(client, [*messages])[-1]
    assert set(answer) == {"status", "error"}, answer
    return {"status": answer["status"], **answer["error"]}


CUTS = st.lists(st.integers(0, 1_050_000), max_size=6).map(sorted)


@given(
    cuts=st.fixed_dictionaries(dict.fromkeys(SENSES, CUTS)),
    senses=st.sets(st.sampled_from(SENSES), min_size=1),
    seed=st.integers(0, 3),
    binary=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_chunks_of_any_size_give_the_scores_of_predict_to_the_bit(client, cuts, senses, seed, binary) -> None:
    signals = recording(seed, *(s for s in SENSES if s in senses))
    chunks = []  # each sense is cut in places of its own, and its chunks come when they are over
    for sense, signal in signals.items():
        edges = [0, *cuts[sense], 2_000_000]
        for first, last in pairwise(edges):
            part = cut({sense: signal}, first, last)
            chunks.append((last, packed(part) if binary else as_json(part)))
    chunks.sort(key=lambda one: one[0])
    answers = play(client, [{"start": list(signals)}, *(part for _, part in chunks), {"end": True}], binary)
    whole = predicted(client, signals)
    assert [one["steps"] for one in answers] == [*range(1, CODE.steps + 1), CODE.steps]
    for name in ("label", "scores", "margin", "senses", "rejected", "steps", "steps_total"):
        assert answers[-1][name] == whole[name]
    assert answers[-1]["model"]["digest"] == whole["model"]["digest"]
    wanted = graph().network.run(taps(signals), 1).potential[0]
    np.testing.assert_allclose(scores(answers)[:-1], wanted, rtol=1e-5, atol=1e-5)


def test_a_step_is_answered_as_soon_as_all_senses_are_through_with_it(client) -> None:
    signals = recording(11)
    with client.websocket_connect("/v1/stream") as socket:
        send(socket, START)
        for sense in SENSES:  # 100 ms of each: five steps, or one less where only the next time stamp ends a step
            send(socket, as_json(cut({sense: signals[sense]}, 0, 100_000)))
        found = [receive(socket) for _ in range(4)]
        assert [one["steps"] for one in found] == [1, 2, 3, 4]
        assert all(one["label"] in CLASSES and one["margin"] >= 0 for one in found)


def test_an_announced_sense_that_never_comes_is_silent(client) -> None:
    signals = recording(12, "audio")
    last = play(client, [START, as_json(signals), {"end": True}])[-1]
    assert last["scores"] == predicted(client, signals)["scores"]
    assert (last["senses"], list(last["rejected"])) == (["audio"], ["events", "imu"])


def test_an_end_without_anything_says_that_there_is_no_answer(client) -> None:
    found = refusal(client, {"start": ["audio"]}, {"end": True})
    assert found["status"] == 422
    assert "no spikes" in found["problem"]


def test_binary_messages_are_answered_in_messagepack_and_text_in_json(client) -> None:
    signals = recording(13, "imu")
    with client.websocket_connect("/v1/stream") as socket:
        send(socket, {"start": ["imu"], **packed(cut(signals, 0, 200_000))}, binary=True)
        assert msgspec.msgpack.decode(socket.receive_bytes())["steps"] == 1
    with client.websocket_connect("/v1/stream") as socket:
        send(socket, {"start": ["imu"], **as_json(cut(signals, 0, 200_000))})
        assert msgspec.json.decode(socket.receive_text())["steps"] == 1


def test_what_does_not_fit_what_came_before_is_refused(client) -> None:
    signals = recording(14)
    first, second = cut(signals, 0, 300_000), cut(signals, 300_000, 600_000)
    for sense, field in (("events", "events.t[0]"), ("imu", "imu.t[0]")):
        again = refusal(client, START, as_json({sense: second[sense]}), as_json({sense: first[sense]}))
        assert (again["status"], again["field"]) == (422, field)
        assert "after" in again["problem"]
    other = as_json({"audio": second["audio"]})
    other["audio"]["rate"] = 16000
    assert refusal(client, START, as_json({"audio": first["audio"]}), other)["problem"] == "16000 Hz after 8000 Hz"
    wide = as_json({"events": second["events"]})
    wide["events"]["width"] = 64
    found = refusal(client, START, as_json({"events": first["events"]}), wide)
    assert found["problem"] == "64 x 34 pixels after 34 x 34 pixels"


@pytest.mark.parametrize(
    ("messages", "status", "field"),
    [
        ([{"end": True}], 422, "start"),
        ([{"start": []}], 422, "start"),
        ([{"start": ["audio", "audio"]}], 422, "start"),
        ([{"start": ["smell"]}], 422, "start"),
        ([START, START], 422, "start"),
        ([{"start": ["imu"]}, {"audio": {"samples": [0.5], "rate": 8000}}], 422, "audio"),
        ([START, {"audio": {"samples": [2.0], "rate": 8000}}], 422, "audio.samples[0]"),
        ([START, {"audio": {"samples": [0.0], "rate": 8000, "gain": 1}}], 422, "audio.gain"),
        ([START, {"stop": True}], 422, "stop"),
        ([START, {"\U0001f600" * 90: True}], 422, "\U0001f600" * 40),
        ([START, []], 422, "body"),
    ],
)
def test_a_message_that_means_nothing_is_refused_by_field(client, messages, status, field) -> None:
    found = refusal(client, *messages)
    assert (found["status"], found["field"]) == (status, field)


def test_a_message_that_is_broken_or_too_long_is_refused_and_the_stream_is_closed(client) -> None:
    for text, status in (("{", 400), ("[" * 10_000, 422), ('"' + "a" * limits.MESSAGE + '"', 413)):
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text(text)
            assert receive(socket)["status"] == status
            with pytest.raises(WebSocketDisconnect) as closed:
                receive(socket)
            assert closed.value.code in (1007, 1009)


def test_a_stream_that_falls_silent_is_closed(client, monkeypatch) -> None:
    monkeypatch.setattr(limits, "IDLE_S", 0.05)
    assert refusal(client, START)["status"] == 408


def test_more_streams_than_the_limit_are_told_to_come_later(client, monkeypatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS", 2)
    with client.websocket_connect("/v1/stream"), client.websocket_connect("/v1/stream") as second:
        with client.websocket_connect("/v1/stream") as third:
            answer = receive(third)
            assert (answer["status"], answer["error"]["field"]) == (429, "stream")
            with pytest.raises(WebSocketDisconnect) as closed:
                receive(third)
            assert closed.value.code == 1013
        send(second, {"start": ["imu"], **as_json(recording(1, "imu"))})
        assert receive(second)["steps"] == 1


def test_a_stream_counts_like_any_answer_and_by_how_it_ended(small_model) -> None:
    profile: Profile = {"imu": {INPUT: bins_of(np.linspace(0, 1, 100))}}
    message = {"start": ["imu"], **as_json(recording(1, "imu")), "end": True}
    app = create(Settings(), lambda _: replace(small_model, profile=profile))
    with TestClient(app, headers={"Host": "localhost"}) as client:
        last = play(client, [message])[-1]
        assert last["model"]["role"] == "champion"
        assert play(client, [{"end": True}])[-1]["status"] == 422
        with client.websocket_connect("/v1/stream") as socket:
            send(socket, {"start": ["imu"]})
        _until(lambda: value(client, "streams_total", end="left") == 1)
        assert value(client, "streams_total", end="answered") == value(client, "streams_total", end="refused") == 1
        assert value(client, "predicted_total", role="champion", label=last["label"]) == 1
        assert value(client, "layer_firing_rate_count", layer="imu") == 1
        assert app.state.service.watch("champion", app.state.service.model).added == 1


@pytest.mark.parametrize(("share", "steps"), [(0.6, 30), (0.4, 20)])
def test_under_pressure_a_stream_ends_after_as_many_steps_as_an_answer_would(small_model, share, steps) -> None:
    signals = recording(1, "imu")
    app = create(Settings(cache=0), lambda _: small_model)
    with TestClient(app, headers={"Host": "localhost"}) as client:
        app.state.service.workers.share = lambda: share
        answers = play(client, [{"start": ["imu"], **as_json(signals), "end": True}])
        assert [one["steps"] for one in answers] == [*range(1, steps + 1), steps]
        assert answers[-1]["scores"] == predicted(client, signals)["scores"]
        assert value(client, "degraded_total", how="fewer_steps") == 2


def test_with_no_time_left_streams_and_spikes_are_refused(small_model) -> None:
    def none() -> float:
        raise Problem(429, "service", "too many requests wait", "0.5 s of waiting", 1)

    app = create(Settings(), lambda _: small_model)
    with TestClient(app, headers={"Host": "localhost"}) as client:
        app.state.service.workers.share = none
        answer = client.post("/v1/spikes", json=as_json(recording(1, "imu")))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        refused_at_the_door(client, 429, "too many requests wait")
        assert value(client, "degraded_total", how="refused") == 2


def test_while_the_service_stops_a_new_stream_is_told_so(small_model) -> None:
    app = create(Settings(), lambda _: small_model)
    with TestClient(app, headers={"Host": "localhost"}) as client:
        app.state.service.drain()
        refused_at_the_door(client, 503, "the service is stopping")


def refused_at_the_door(client, status: int, problem: str) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        answer = receive(socket)
        assert (answer["status"], answer["error"]["problem"]) == (status, problem)
        with pytest.raises(WebSocketDisconnect) as closed:
            receive(socket)
        assert closed.value.code == 1013
    assert value(client, "streams_total", end="refused") == 1


def _until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.005)


def test_a_client_that_vanishes_leaves_its_place_to_the_next(small_model) -> None:
    app = create(Settings(), lambda _: small_model)
    with TestClient(app, headers={"Host": "localhost"}) as client:
        for _ in range(5):
            with client.websocket_connect("/v1/stream") as socket:
                send(socket, {"start": ["imu"], **as_json(recording(1, "imu"))})
                receive(socket)  # and goes, with most answers unread
        assert play(client, [{"start": ["imu"], **as_json(recording(1, "imu"))}, {"end": True}])[-1]["final"]
        assert app.state.service.sessions == 0


def test_streams_of_the_running_service_do_not_disturb_each_other(service) -> None:
    async def one(seed: int) -> dict[str, Any]:
        signals, found = recording(seed), {}
        async with websockets.connect(service.replace("http", "ws") + "/v1/stream") as socket:
            await socket.send(msgspec.msgpack.encode(START))
            for first in range(0, 1_000_000, 100_000):
                await socket.send(msgspec.msgpack.encode(packed(cut(signals, first, first + 100_000))))
            await socket.send(msgspec.msgpack.encode({"end": True}))
            async for content in socket:
                found = msgspec.msgpack.decode(content)
        return found

    async def all_of_them() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(one(seed) for seed in range(16))))

    for seed, found in enumerate(asyncio.run(all_of_them())):
        whole = httpx.post(f"{service}/v1/predict", json=as_json(recording(seed))).json()
        assert (found["final"], found["scores"], found["label"]) == (True, whole["scores"], whole["label"])
