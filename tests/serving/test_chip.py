"""A service in a chip's arithmetic answers what the chip's simulator gives, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snn_fusion.encoding.encoder import encode
from snn_fusion.network.graph import load_graph
from snn_fusion.serving.model import Model, chip_model
from snn_fusion.serving.predict import predict
from snn_fusion.serving.session import Session
from snn_fusion.targets.artefact import load_artefact
from snn_fusion.targets.compile import compile_graph, read_program, target
from snn_fusion.targets.contract import dequantised
from snn_fusion.targets.present import SPIKES, present
from tests.serving.made import CODE, cut, recording


@pytest.fixture(scope="module")
def compiled(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled")
    made, _ = read_program(small_graph)
    compile_graph("loihi2", made, out, None, {"presentation": SPIKES}, max_deviation=1.0)
    return out


@pytest.fixture(scope="module")
def on_chip(small_graph: Path, compiled: Path) -> Model:
    return chip_model(small_graph, "small", compiled)


@pytest.mark.parametrize("senses", [("audio",), ("events", "imu"), ("audio", "events", "imu")], ids="+".join)
def test_scores_are_the_simulators_at_every_step(small_graph, compiled, on_chip, senses) -> None:
    signals, artefact = recording(3, *senses), load_artefact(compiled)
    base = {sense: encode(signal, CODE) for sense, signal in signals.items()}
    found = target("loihi2").run(artefact, present(SPIKES, base, 1, load_graph(small_graph)))
    wanted = dequantised(artefact, artefact.meta["output"], found.potential[artefact.meta["output"]])[0]
    session = Session(on_chip, signals)
    session.push(signals)
    session.close()
    np.testing.assert_array_equal([step.scores for step in session.steps()], wanted)
    answer = predict(on_chip, signals)
    np.testing.assert_array_equal(answer.last.scores, wanted[-1])
    assert answer.body(on_chip)["model"]["arithmetic"] == "loihi2"
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
