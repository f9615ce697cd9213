"""A network answers only for what it was trained on: its senses, its frame, and spikes that reach its readout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Events, Sense
from snn_fusion.encoding.encoder import inputs
from snn_fusion.network.fusion import FusionNetwork
from snn_fusion.network.graph import initial_generator, load_graph, save_graph
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model, float_model
from snn_fusion.serving.settings import Settings
from tests.serving.conftest import LOCAL
from tests.serving.made import CLASSES, CODE, PARAMS, as_json, camera, encoded, recording
from tests.serving.test_stream import START, play, refusal
from tests.serving.watching import NEVER, altered


def model_of(folder: Path, *senses: Sense, code: EncodingParams = CODE) -> Model:
    """A network of these senses only."""
    sizes = {sense: inputs(code, sense) for sense in senses}
    network = FusionNetwork(sizes, len(CLASSES), PARAMS.network, generator=initial_generator(0))
    for weights in network.parameters():
        weights.data = weights.data.abs()  # whatever comes reaches the readout
    save_graph(folder, network, code, CLASSES, {"seed": 0})
    return float_model(folder, "made")


def serving(model: Model, challenger: Model | None = None) -> TestClient:
    made = Settings(pressure_ms=NEVER, cache=0, challenger="c" if challenger else "")
    app = create(made, lambda _: model, lambda _: challenger)
    return TestClient(app, headers=LOCAL, raise_server_exceptions=False)


def test_a_sense_that_the_network_has_not_is_refused_on_every_route(tmp_path: Path, monkeypatch) -> None:
    given = as_json(recording(1, "audio", "events"))
    with serving(model_of(tmp_path / "graph", "audio", "imu")) as one:
        monkeypatch.setattr("snn_fusion.encoding.window.Stream", None)  # nothing may be encoded
        for path in ("/v1/predict", "/v1/spikes"):
            answer = one.post(path, json=given)
            assert answer.status_code == 422
            error = answer.json()["error"]
            assert (error["field"], error["limit"]) == ("events", "of audio, imu")
        (answer,) = one.post("/v1/predict/batch", json={"recordings": [given]}).json()["answers"]
        assert (answer["status"], answer["error"]["field"]) == (422, "recordings[0].events")
        found = refusal(one, {"start": ["audio", "events"]})
        assert (found["status"], found["field"], found["limit"]) == (422, "start.events", "of audio, imu")
        found = refusal(one, {"start": ["audio"]}, {"events": given["events"]})
        assert (found["status"], found["field"]) == (422, "events")


def test_the_champion_answers_for_a_sense_that_the_challenger_has_not(tmp_path: Path, small_model: Model) -> None:
    challenger = model_of(tmp_path / "graph", "audio")
    given = as_json(recording(1, "imu"))
    with serving(small_model, challenger) as one:
        answer = one.post("/v1/predict", json=given, headers={"X-Model": "challenger"}).json()
        assert answer["model"]["role"] == "champion" and answer["model"]["instead_of_challenger"]
    with serving(challenger, small_model) as one:
        assert one.post("/v1/predict", json=given).status_code == 422


def test_scores_of_zero_are_no_answer(small_model: Model) -> None:
    def nothing(_: Any, potentials: Any) -> Any:
        return np.zeros_like(potentials)

    given = as_json(recording(1, "imu"))
    with serving(altered(small_model, after=nothing)) as one:
        answer = one.post("/v1/predict", json=given)
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert error["field"] == "imu" and "no spike reached the readout" in error["problem"]
        (inside,) = one.post("/v1/predict/batch", json={"recordings": [given]}).json()["answers"]
        assert (inside["status"], inside["error"]["problem"]) == (422, error["problem"])
        *steps, last = play(one, [{"start": ["imu"]}, {**given, "end": True}])
        assert [step["label"] for step in steps] == [None] * CODE.steps
        assert (last["status"], last["error"]["problem"]) == (422, error["problem"])


def framed(other: str, frame: list[int] | None = None) -> EncodingParams:
    events = CODE.events.model_copy(update={"frame": frame or [34, 34], "other_frames": other})
    return CODE.model_copy(update={"events": events})


def large(side: int) -> dict[str, Any]:
    return as_json({"events": camera(np.random.default_rng(3), 4000, 1.0, side)})


def test_another_frame_than_the_trained_one_is_refused_or_scaled_as_the_parameters_say(tmp_path: Path) -> None:
    with serving(model_of(tmp_path / "strict", "events", code=framed("refuse"))) as one:
        assert one.post("/v1/predict", json=large(34)).json()["scaled"] == {}
        for path in ("/v1/predict", "/v1/spikes"):
            error = one.post(path, json=large(68)).json()["error"]
            assert error["field"] == "events" and "68 x 68" in error["problem"] and "34 x 34" in error["problem"]
            assert "encoding.events.other_frames: scale" in error["limit"]
        assert refusal(one, {"start": ["events"]}, large(68))["status"] == 422
    with serving(model_of(tmp_path / "mild", "events", code=framed("scale"))) as one:
        answer = one.post("/v1/predict", json=large(68)).json()
        assert "68 x 68 pixels, scaled to the 34 x 34" in answer["scaled"]["events"]
        last = play(one, [{"start": ["events"]}, {**large(68), "end": True}])[-1]
        assert last["scaled"] == answer["scaled"] and last["scores"] == answer["scores"]


def test_examples_and_the_warm_recording_have_the_frame_of_the_network(tmp_path: Path) -> None:
    with serving(model_of(tmp_path / "graph", "events", code=framed("refuse", [346, 260]))) as one:
        found = one.get("/v1/examples/4").json()["events"]
        assert (found["width"], found["height"]) == (346, 260)
        assert max(found["x"]) < 346 and max(found["y"]) < 260
        assert one.post("/v1/predict", json={"events": found}).status_code == 200


def test_a_graph_that_names_no_frame_is_as_before(tmp_path: Path) -> None:
    model = model_of(tmp_path / "graph", "events")
    assert load_graph(tmp_path / "graph").encoding.events.frame is None
    with serving(model) as one:
        answer = one.post("/v1/predict", json=large(68))
        assert answer.status_code == 200 and answer.json()["scaled"] == {}


@pytest.mark.parametrize(("bits", "named"), [(16, "32,768"), (24, "8,388,608"), (32, "2,147,483,648")])
def test_samples_of_whole_numbers_are_refused_with_what_to_divide_them_by(client, bits: int, named: str) -> None:
    given = as_json(recording(1, "audio"))
    loudest = max(map(abs, given["audio"]["samples"]))
    given["audio"]["samples"] = [round((2 ** (bits - 1) - 1) * one / loudest) for one in given["audio"]["samples"]]
    answers = [client.post("/v1/predict", json=given), client.post("/v1/spikes", json=given)]
    for answer in answers:
        assert answer.status_code == 422 and f"{bits}-bit whole numbers by {named}" in answer.json()["error"]["limit"]
    found = refusal(client, {"start": ["audio"]}, given)
    assert f"{bits}-bit" in found["limit"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/examples/3?seed=",
        "/v1/examples/3?sed=1",
        "/v1/examples/3?seed=1&seed=2",
        "/v1/examples?x=1",
        "/v1/models?page=1",
        "/api/experiments?page=abc",
        "/api/experiments?page=MTIz",
        "/api/experiments?page=eyJvZmZzZXQiOiAtNX0=",
        "/api/experiments?page=eyJvZmZzZXQiOiAxLjV9",
        "/api/experiments?limit=",
        "/api/benchmarks?x",
    ],
)
def test_a_query_that_means_nothing_is_a_400(client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["field"] and error["problem"] and error["limit"]


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch", "/v1/spikes", "/v1/pen"])
def test_routes_that_take_no_query_refuse_one(client, path: str) -> None:
    assert client.post(f"{path}?steps=10", content=encoded({})).status_code == 400


def test_all_senses_of_a_network_of_all_senses_are_taken(client) -> None:
    given = recording(2)
    assert isinstance(given["events"], Events)
    last = play(client, [START, {**as_json(given), "end": True}])[-1]
    assert last["senses"] == client.post("/v1/predict", json=as_json(given)).json()["senses"]
