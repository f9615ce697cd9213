"""A service in a chip's arithmetic answers what the chip's simulator gives, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.encoder import encode_together
from snn_fusion.network.graph import load_graph
from snn_fusion.registry.rates import INPUT, LAYER
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model, chip_model
from snn_fusion.serving.predict import predict
from snn_fusion.serving.session import Session
from snn_fusion.serving.settings import Settings
from snn_fusion.targets.artefact import load_artefact
from snn_fusion.targets.compile import compile_graph, read_program, target
from snn_fusion.targets.contract import dequantised
from snn_fusion.targets.present import SPIKES, present
from snn_fusion.validation.drift import Profile, bins_of
from tests.serving.made import CLASSES, CODE, as_json, cut, recording
from tests.serving.watching import LOCAL, NEVER, value


@pytest.fixture(scope="module", params=["loihi2", "spinnaker"])
def compiled(request: pytest.FixtureRequest, small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled")
    made, _ = read_program(small_graph)
    compile_graph(request.param, made, out, None, {"presentation": SPIKES}, max_deviation=1.0)
    return out


@pytest.fixture(scope="module")
def on_chip(small_graph: Path, compiled: Path) -> Model:
    return chip_model(small_graph, "small", compiled)


def simulated(graph: Path, compiled: Path, signals: Mapping[Sense, Signal]) -> npt.NDArray[Any]:
    """What the chip's simulator gives after each step, (steps, classes)."""
    artefact = load_artefact(compiled)
    base = encode_together(signals, CODE)[0]
    found = target(artefact.target).run(artefact, present(SPIKES, base, 1, load_graph(graph)))
    output = artefact.meta["output"]
    scores: npt.NDArray[Any] = dequantised(artefact, output, found.potential[output])[0]
    return scores


@pytest.mark.parametrize("senses", [("audio",), ("events", "imu"), ("audio", "events", "imu")], ids="+".join)
def test_scores_are_the_simulators_at_every_step(small_graph, compiled, on_chip, senses) -> None:
    signals = recording(3, *senses)
    wanted = simulated(small_graph, compiled, signals)
    session = Session(on_chip, signals)
    session.push(signals)
    session.close()
    np.testing.assert_array_equal([step.scores for step in session.steps()], wanted)
    answer = predict(on_chip, signals)
    np.testing.assert_array_equal(answer.last.scores, wanted[-1])
    assert answer.body(on_chip)["model"]["arithmetic"] == load_artefact(compiled).target
    assert len(set(wanted[-1])) > 5


def test_chunks_give_the_answer_of_the_whole(on_chip) -> None:
    signals, scores = recording(4), []
    session = Session(on_chip, signals)
    for first, last in ((0, 90e3), (90e3, 700e3), (700e3, 1e6)):
        session.push(cut(signals, first, last))
        scores += session.steps()
    session.close()
    scores += session.steps()
    assert [step.step for step in scores] == list(range(1, CODE.steps + 1))
    np.testing.assert_array_equal(scores[-1].scores, predict(on_chip, signals).last.scores)


def test_over_http_a_chip_with_a_profile_answers_with_the_simulators_scores(small_graph, compiled, on_chip) -> None:
    bins = bins_of(np.linspace(0, 1, 100))
    profile: Profile = {"imu": {INPUT: bins, LAYER: bins, "joint": bins}, "fused": {"joint": bins}}
    several = [recording(seed, *senses) for seed, senses in enumerate([("imu",), ("audio", "events", "imu")])]
    wanted = [dict(zip(CLASSES, simulated(small_graph, compiled, one)[-1].tolist(), strict=True)) for one in several]
    app = create(Settings(pressure_ms=NEVER, cache=0), lambda _: replace(on_chip, profile=profile))
    with TestClient(app, LOCAL) as client:
        for signals, scores in zip(several, wanted, strict=True):
            answer = client.post("/v1/predict", json=as_json(signals))
            assert (answer.status_code, answer.json()["scores"]) == (200, scores)
        batch = client.post("/v1/predict/batch", json={"recordings": [as_json(one) for one in several]})
        assert [one["scores"] for one in batch.json()["answers"]] == wanted
        assert value(client, "input_spike_rate_count", sense="imu") == 4
        assert "layer_firing_rate_count" not in client.get("/metrics").text  # they compare with no float network's
