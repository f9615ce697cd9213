"""However a recording is written, it gets the answer that training's encoders and network give."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_fusion.data.recording import SENSES, Audio, Imu, Sense, Signal
from snn_fusion.encoding.encoder import encode_together
from snn_fusion.network.fusion import decide
from snn_fusion.serving.model import Model
from snn_fusion.serving.predict import predict
from snn_fusion.serving.session import Session, Step
from tests.serving.made import CLASSES, CODE, MSGPACK, as_json, comparable, cut, graph, packed, pen, recording, taps

SUBSETS = [some for n in (1, 2, 3) for some in combinations(SENSES, n)]


def by_json(client, signals, path: str = "/v1/predict") -> dict[str, Any]:
    answer = client.post(path, json=as_json(signals))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("senses", SUBSETS, ids="+".join)
def test_any_subset_of_senses_gets_the_networks_answer(client, senses) -> None:
    signals = recording(4, *senses)
    wanted = graph().network.run(taps(signals), 1).potential[0, -1]
    answer = by_json(client, signals)
    np.testing.assert_allclose([answer["scores"][name] for name in CLASSES], wanted, rtol=1e-5, atol=1e-5)
    ordered = np.sort(wanted)
    assert answer["label"] == CLASSES[int(wanted.argmax())]
    assert answer["margin"] == pytest.approx(float(ordered[-1] - ordered[-2]), rel=1e-4)
    assert (answer["senses"], answer["steps"], answer["rejected"]) == (list(senses), CODE.steps, {})


@pytest.mark.parametrize("senses", SUBSETS, ids="+".join)
def test_json_messagepack_and_packed_messagepack_get_the_same_answer(client, senses) -> None:
    signals = recording(5, *senses)
    found = [by_json(client, signals)]
    for form in (as_json(signals), packed(signals)):
        found.append(client.post("/v1/predict", content=msgspec.msgpack.encode(form), headers=MSGPACK).json())
    assert comparable(found[0]) == comparable(found[1]) == comparable(found[2])


def test_who_accepts_messagepack_gets_it(client) -> None:
    signals = recording(6, "imu")
    answer = client.post("/v1/predict", json=as_json(signals), headers={"Accept": "application/msgpack"})
    assert answer.headers["content-type"] == "application/msgpack"
    assert comparable(msgspec.msgpack.decode(answer.content)) == comparable(by_json(client, signals))


def test_different_recordings_get_different_answers(client) -> None:
    found = {tuple(by_json(client, recording(seed))["scores"].values()) for seed in range(8)}
    assert len(found) == 8


def test_a_batch_gets_what_each_gets_alone(client) -> None:
    several = [recording(seed, *senses) for seed, senses in enumerate(SUBSETS)]
    answer = client.post("/v1/predict/batch", json={"recordings": [as_json(one) for one in several]})
    found = [comparable(one) for one in answer.json()["answers"]]
    assert found == [comparable(by_json(client, one)) for one in several]


def test_one_bad_recording_of_a_batch_gets_its_problem_and_the_others_their_answers(client) -> None:
    good, bad = as_json(recording(1, "audio")), as_json(recording(2, "audio"))
    bad["audio"]["rate"] = 10
    answers = client.post("/v1/predict/batch", json={"recordings": [good, bad, good]}).json()["answers"]
    assert answers[0]["label"] == answers[2]["label"]
    assert answers[1]["status"] == 422
    assert answers[1]["error"]["field"] == "recordings[1].audio.rate"


def test_spikes_are_those_of_training(client) -> None:
    signals = recording(7)
    found = by_json(client, signals, "/v1/spikes")
    assert found["step_ms"] == CODE.step_ms
    for sense, wanted in encode_together(signals, CODE)[0].items():
        one = found["senses"][sense]
        assert (one["steps"], one["channels"]) == (wanted.rows, wanted.channels)
        np.testing.assert_array_equal(one["indptr"], wanted.indptr)
        np.testing.assert_array_equal(one["index"], wanted.index)


@pytest.mark.parametrize("seconds", [0.02, 0.33, 1.0, 1.7])
def test_recordings_may_be_shorter_or_longer_than_the_network_looks(client, seconds) -> None:
    signals = recording(8, seconds=seconds)
    wanted = graph().network.run(taps(signals), 1).potential[0, -1]
    np.testing.assert_allclose(list(by_json(client, signals)["scores"].values()), wanted, rtol=1e-5, atol=1e-5)


def sparse(seed: int, times_ms: list[int]) -> Imu:
    """A pen's signal with readings at these times only."""
    whole = pen(np.random.default_rng(seed), len(times_ms), 1.0)
    return Imu(np.array(times_ms, np.int64) * 1000, whole.values, whole.channels, whole.units)


def streamed(model: Model, signals: Mapping[Sense, Signal], edges: list[float]) -> list[Step]:
    """All steps of a recording that comes in pieces, cut at these times in microseconds."""
    session, found = Session(model, signals), []
    for first, last in pairwise([0, *sorted(edges), 1e12]):
        session.push(cut(signals, first, last))
        found += session.steps()
    session.close()
    return found + session.steps()


def same_in_any_number_of_steps(model: Model, signals: Mapping[Sense, Signal], edges: list[float], steps: int) -> None:
    found = streamed(model, signals, edges)
    for count in (steps, CODE.steps):
        np.testing.assert_array_equal(predict(model, signals, count).last.scores, found[count - 1].scores)


@pytest.mark.parametrize("apart_ms", [150, 300])
def test_readings_far_apart_get_the_bits_of_a_stream_in_any_number_of_steps(small_model, apart_ms) -> None:
    signals: dict[Sense, Signal] = {"imu": sparse(3, list(range(0, 1500, apart_ms)))}
    for steps in range(5, CODE.steps):
        same_in_any_number_of_steps(small_model, signals, [100e3, 610e3], steps)


@given(
    seed=st.integers(0, 3),
    senses=st.sets(st.sampled_from(SENSES)),
    gaps=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    edges=st.lists(st.integers(0, 1_200_000).map(float), max_size=4),
    steps=st.integers(15, CODE.steps),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sparse_readings_with_any_senses_get_the_bits_of_a_stream(
    small_model, seed, senses, gaps, edges, steps
) -> None:
    signals = recording(seed, *(s for s in SENSES if s in senses | {"audio"}))  # which makes spikes by then
    signals["imu"] = sparse(seed, np.cumsum([0, *gaps]).tolist())
    same_in_any_number_of_steps(small_model, signals, edges, steps)


def test_a_tie_goes_to_the_lowest_class_as_in_training() -> None:
    for values in ([0.5, 2.0, 2.0], [1.0, 1.0, 1.0], [-3.0, -4.0, -3.0]):
        scores = np.array(values, np.float32)
        answer = Step(1, scores).body(("a", "b", "c"))
        assert answer["label"] == "abc"[int(decide(scores[None])[0])]
        assert answer["margin"] == 0


def test_silence_after_a_sound_gives_the_bits_that_it_gives_without_short_cuts(client, small_model) -> None:
    sound = recording(9, "audio", seconds=0.2)["audio"]
    longer = Audio(np.concatenate([sound.samples, np.zeros(8000, np.float32)]), sound.rate)
    alone = predict(small_model, {"audio": longer}).last
    assert by_json(client, {"audio": longer})["scores"] == alone.body(CLASSES)["scores"]


def test_a_silent_sense_is_rejected_and_the_others_decide(client) -> None:
    signals = recording(9, "events")
    form = as_json(signals) | {"audio": {"samples": [0.0] * 8000, "rate": 8000}}
    answer = client.post("/v1/predict", json=form).json()
    assert list(answer["rejected"]) == ["audio"]
    assert answer["senses"] == ["events"]
    assert answer["scores"] == by_json(client, signals)["scores"]


def test_the_running_service_answers_as_the_application_does(service, client) -> None:
    for seed, senses in enumerate(SUBSETS):
        signals = recording(20 + seed, *senses)
        answer = httpx.post(f"{service}/v1/predict", json=as_json(signals)).json()
        alone = by_json(client, signals)
        for name in ("scores", "label", "margin", "senses", "steps"):
            assert answer[name] == alone[name]
