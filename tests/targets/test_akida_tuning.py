"""The network of windows: counts as the chip takes them, learned in its own arithmetic, the same on both versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_fusion.config import Params
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import Graph, load_graph, save_graph
from snn_fusion.targets.akida.collapsed import Collapsed
from snn_fusion.targets.akida.present import Presentation, counts
from snn_fusion.targets.akida.tune import as_recorded, presentation, shown, tune, versions
from snn_fusion.targets.compile import compile_graph, read_program, target
from snn_fusion.targets.populations import Program
from snn_fusion.targets.program_file import load_program, save_program
from snn_fusion.training.batches import TrainingData, batches
from snn_fusion.training.stage import new_network, read_training_data
from snn_fusion.workspace import Workspace
from tests.targets.test_akida import akida
from tests.training.conftest import ready, small  # noqa: F401


def test_spikes_are_counted_in_windows_up_to_the_cap_and_a_missing_sense_is_silent() -> None:
    dense = np.zeros((10, 2), bool)  # two recordings of five steps
    dense[0:5, 0] = True
    dense[9, 1] = True
    how = Presentation(5, 2, 1, {"audio": 2, "imu": 3})
    found = counts({"audio": Spikes.from_dense(dense)}, 2, how)
    assert found["input_audio"].tolist() == [[[1, 0], [1, 0], [1, 0]], [[0, 0], [0, 0], [0, 1]]]
    assert found["input_imu"].shape == (2, 3, 3) and not found["input_imu"].any()
    flat = counts({"audio": Spikes.from_dense(dense)}, 2, replace(how, frames=False, cap=15))
    assert flat["input_audio"].tolist() == [[[2, 0, 2, 0, 1, 0]], [[0, 0, 0, 0, 0, 1]]]
    late = counts({"audio": Spikes.from_dense(dense)}, 2, replace(how, cap=15), {"audio": np.array([3, 1])})
    assert late["input_audio"].tolist() == [[[0, 0], [1, 0], [1, 0]], [[0, 0], [0, 0], [0, 0]]]


def test_every_number_of_the_network_is_one_that_the_chip_holds() -> None:
    how = Presentation(50, 5, 15, {"audio": 6, "events": 5})
    network = Collapsed(how, 4, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    x = {s: torch.from_numpy(rng.integers(0, 6, (9, 10, n)).astype(np.float32)) for s, n in how.channels.items()}
    network.calibrate(x)
    with torch.no_grad():
        for bias in network.bias.values():
            bias.normal_(0, 0.7, generator=torch.Generator().manual_seed(1))
        logits = network(x).numpy()
    program = network.program(0.1)
    for name, (made, shown_as) in versions(program, how).items():
        chip = target(name)
        assert not chip.check(made)  # not even a warning: nothing is rounded
        inputs = {f"input_{s}": values.numpy().astype(np.uint8) for s, values in x.items()}
        if not shown_as.frames:
            inputs = {key: values.reshape(9, 1, -1) for key, values in inputs.items()}
        potential = chip.run(chip.lower(made), inputs).potential["readout"][:, -1]
        np.testing.assert_allclose(potential / network.unit, logits, rtol=1e-5)


@pytest.fixture
def taught(ready: Workspace, small: Params, tmp_path: Path) -> tuple[Graph, TrainingData]:  # noqa: F811
    data = read_training_data(small, ready)
    save_graph(tmp_path / "graph", new_network(small, data), small.encoding, data.classes, {})
    return load_graph(tmp_path / "graph"), data


def test_a_share_of_the_samples_is_shown_as_recorded_and_what_is_missing_stays_missing(
    taught: tuple[Graph, TrainingData],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, data = taught
    audio = data.senses[0]
    varied = data.vary(data.fit, np.random.default_rng(0)).only(audio)
    for share, wanted in ((0.0, varied), (1.0, data.fit.only(audio))):
        monkeypatch.setattr("snn_fusion.targets.akida.tune.AS_RECORDED", share)
        found = as_recorded(data, varied, np.random.default_rng(1))
        for sense in data.senses:
            np.testing.assert_array_equal(found.recording[sense], wanted.recording[sense])


def tuned(graph: Graph, params: Params, data: TrainingData, epochs: int) -> Program:
    return tune(graph, params, data, lambda *_: None, epochs)


@akida
def test_tuning_learns_repeats_itself_and_is_akidas_to_the_bit_in_both_versions(
    taught: tuple[Graph, TrainingData],
    small: Params,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, data = taught
    monkeypatch.setattr("snn_fusion.targets.akida.tune.BATCH", 16)
    monkeypatch.setattr("snn_fusion.targets.akida.tune.AVERAGE", 0.9)
    seals = {save_program(tmp_path / str(i), tuned(graph, small, data, 2), {}) for i in range(2)}
    assert len(seals) == 1
    program, how = tuned(graph, small, data, 25), presentation(graph)
    (batch,) = batches(data.validation, 1000)
    spikes = {s: data.stores[s].take(batch.recording[s]) for s in data.senses}
    answers = []
    for name, (made, shown_as) in versions(program, how).items():
        chip, inputs = target(name), counts(spikes, len(batch), shown_as)
        artefact = chip.lower(made)
        found = chip.conform(artefact, inputs)
        assert (found.spikes, found.potentials) == (0, 0)
        answers.append(chip.run(artefact, inputs).potential["readout"][:, -1])
    np.testing.assert_array_equal(*answers)
    assert (answers[0].argmax(1) == batch.label).mean() > 0.5  # chance is a third
    np.testing.assert_array_equal(shown(data, batch, how)["imu"].numpy(), counts(spikes, len(batch), how)["input_imu"])


def test_a_tuned_program_comes_back_from_disk_and_compiles_with_what_is_said_beside_it(
    taught: tuple[Graph, TrainingData],
    small: Params,  # noqa: F811
    tmp_path: Path,
) -> None:
    graph, data = taught
    program, how = tuned(graph, small, data, 1), presentation(graph)
    meta = {"presentation": how.as_meta()}
    save_program(tmp_path / "tuned", program, meta)
    loaded, found = load_program(tmp_path / "tuned")
    assert Presentation(**found["presentation"]) == how
    for one, other in zip(program, loaded, strict=True):
        assert (one.name, one.levels, one.spikes) == (other.name, other.levels, other.spikes)
        np.testing.assert_array_equal(one.threshold, other.threshold)
        for c, d in zip(one.incoming, other.incoming, strict=True):
            assert (c.source, c.delay) == (d.source, d.delay) and abs(c.weights - d.weights).max() == 0
    made, said = read_program(tmp_path / "tuned")
    compile_graph("akida2", made, tmp_path / "chip", meta=said)
    assert '"presentation"' in (tmp_path / "chip" / "artefact.json").read_text()
    with pytest.raises(BadInput, match="says itself"):
        read_program(tmp_path / "tuned", dt=0.001)
    file = tmp_path / "tuned" / "program.json"
    file.write_text(file.read_text().replace('"levels": 15', '"levels": 3'))
    with pytest.raises(BadInput, match="digest"):
        load_program(tmp_path / "tuned")
