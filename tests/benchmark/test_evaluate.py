"""A network on recordings: which answers there are, that they are right, and that nothing but the data matters."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snn_fusion.benchmark import recordings
from snn_fusion.benchmark.conditions import CONDITIONS, HARD_CONDITIONS, at_level
from snn_fusion.benchmark.document import document, predictions
from snn_fusion.benchmark.evaluate import Answers, Evaluation, evaluate_rows
from snn_fusion.benchmark.statistics import wilson
from snn_fusion.data.manifest import Row, load_together
from snn_fusion.encoding.encoder import encode_together, with_taps
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.network.fusion import decide
from snn_fusion.network.graph import Graph, load_graph

from .conftest import MakeGraph


@pytest.fixture(scope="module")
def evaluation(graph_folder: Path, rows: list[Row], folder: Path) -> Evaluation:
    return evaluate_rows(load_graph(graph_folder), rows, folder, seed=5)


def content(evaluation: Evaluation, graph: Graph) -> dict[str, object]:
    return document(evaluation, graph, "a graph", "a folder", 5)


def test_accuracy_counts_right_answers_with_their_wilson_interval() -> None:
    answers = Answers(("a", "b", "c", "d"), np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    low, high = wilson(3, 4)
    assert answers.accuracy() == {"value": 0.75, "low": low, "high": high, "n": 4}


def test_every_condition_is_measured_for_each_sense_and_fused(evaluation: Evaluation) -> None:
    accuracy = evaluation.accuracy
    assert list(accuracy) == [c.name for c in CONDITIONS]
    for name in ("clean", *HARD_CONDITIONS):
        views = {"fused"} if name.startswith("missing") else {"audio", "events", "imu", "fused"}
        assert set(accuracy[name]) == views and {one["n"] for one in accuracy[name].values()} == {20}


@pytest.mark.parametrize("level", ["clean", "n2"])
def test_answers_are_those_of_the_network_on_the_recordings(
    level: str, evaluation: Evaluation, graph: Graph, rows: list[Row], folder: Path
) -> None:
    """One recording at a time, without batches, pools or bookkeeping."""
    for row in rows[:4]:
        code, signals = graph.encoding, load_together(folder, row.senses)
        for sense, ref in row.senses.items():
            signals[sense] = at_level(signals[sense], level, ref, 5, code.step_ms)  # type: ignore[arg-type]
        spikes = {sense: with_taps(one, code) for sense, one in encode_together(signals, code)[0].items()}
        views = {"fused": spikes, **{sense: {sense: one} for sense, one in spikes.items()}}
        for view, inputs in views.items():
            answers = evaluation.answers[level, view]  # type: ignore[index]
            answer = decide(graph.network.run(inputs, 1).potential[:, -1])[0]  # type: ignore[arg-type]
            assert answers.predictions[answers.ids.index(row.id)] == answer
        if level == "clean":
            left = {sense: one for sense, one in spikes.items() if sense != "events"}
            missing, potential = evaluation.answers["missing_events", "fused"], graph.network.run(left, 1).potential
            assert missing.predictions[missing.ids.index(row.id)] == decide(potential[:, -1])[0]


def test_early_answers_are_points_of_accuracy_over_time(evaluation: Evaluation, graph: Graph) -> None:
    for view, curve in evaluation.by_step.items():
        assert len(curve) == graph.encoding.steps
        for condition in CONDITIONS:
            if condition.name == "clean" or condition.name.startswith("early"):
                expected = curve[condition.step(graph.encoding.steps)]
                assert evaluation.accuracy[condition.name][view]["value"] == pytest.approx(expected)


def test_confusion_matrix_counts_each_recording_once(evaluation: Evaluation) -> None:
    for view in ("audio", "events", "imu", "fused"):
        matrix, answers = evaluation.confusion(view), evaluation.answers["clean", view]  # type: ignore[arg-type, index]
        assert matrix.sum() == 20 and (matrix.sum(axis=1) == 2).all()
        assert matrix.trace() == answers.correct.sum()


def test_order_of_the_rows_and_batches_change_nothing(
    evaluation: Evaluation, graph: Graph, rows: list[Row], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn_fusion.benchmark.evaluate.BATCH", 7)
    shuffled = random.Random(1).sample(rows, len(rows))
    other = evaluate_rows(graph, [replace(row, split="train") for row in shuffled], folder, seed=5)
    assert content(other, graph) == content(evaluation, graph)
    assert predictions(other) == predictions(evaluation)


def test_processes_give_the_same_answers(
    evaluation: Evaluation, graph: Graph, rows: list[Row], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "WORTH_A_POOL", 0)
    assert content(evaluate_rows(graph, rows, folder, seed=5), graph) == content(evaluation, graph)


def test_a_subset_gives_the_same_answers_for_the_same_recordings(
    evaluation: Evaluation, graph: Graph, rows: list[Row], folder: Path
) -> None:
    part = evaluate_rows(graph, rows[3:9], folder, seed=5)
    for key, answers in part.answers.items():
        whole = evaluation.answers[key]
        assert [whole.predictions[whole.ids.index(i)] for i in answers.ids] == answers.predictions.tolist()


def test_single_senses_are_measured_on_all_recordings_and_fused_on_joins(
    graph: Graph, rows: list[Row], folder: Path
) -> None:
    singles = [replace(r, id=f"{s}/{r.id}", senses={s: ref}) for r in rows for s, ref in r.senses.items()]
    found = evaluate_rows(graph, singles[:-1], folder, seed=0)  # the last recording has no imu
    counts = {view: one["n"] for view, one in found.accuracy["clean"].items()}
    assert counts == {"audio": 20, "events": 20, "imu": 19, "fused": 19} and found.joined == 19


def test_one_sense_alone_has_no_fused_numbers(graph: Graph, rows: list[Row], folder: Path) -> None:
    only = [replace(row, senses={"events": row.senses["events"]}) for row in rows[:5]]
    found = content(evaluate_rows(graph, only, folder, seed=0), graph)
    assert all(set(views) == {"events"} for views in found["accuracy"].values())  # type: ignore[attr-defined]
    assert "missing_events" not in found["accuracy"]  # type: ignore[operator]
    assert set(found["confusion"]) == set(found["synaptic_operations"]) == {"events"}  # type: ignore[call-overload]


def test_a_missing_sense_is_measured_on_the_recordings_that_have_it(
    graph: Graph, rows: list[Row], folder: Path
) -> None:
    pairs = [replace(r, senses={"audio": r.senses["audio"], "imu": r.senses["imu"]}) for r in rows[:3]]
    found = evaluate_rows(graph, [*pairs, *rows[3:5]], folder, seed=0).accuracy
    counts = {name: found[name]["fused"]["n"] for name in found}
    assert counts["clean"] == 5 and counts["missing_audio"] == 5 and counts["missing_events"] == 2


def test_a_network_of_two_senses_is_tested_on_those(make_graph: MakeGraph, rows: list[Row], folder: Path) -> None:
    found = evaluate_rows(load_graph(make_graph(("audio", "imu"))), rows[:4], folder, seed=0)
    assert set(found.accuracy["clean"]) == {"audio", "imu", "fused"}


def test_unknown_labels_stop_the_evaluation(make_graph: MakeGraph, rows: list[Row], folder: Path) -> None:
    with pytest.raises(BadInput, match="unknown to the network") as error:
        evaluate_rows(load_graph(make_graph(classes=("0", "1"))), rows, folder, seed=0)
    assert "16 recordings" in str(error.value) and "it knows: 0, 1" in str(error.value)


@pytest.mark.parametrize("processes", [True, False])
def test_all_damaged_recordings_are_listed(
    processes: bool, graph: Graph, rows: list[Row], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "WORTH_A_POOL", 0 if processes else 10_000)
    for row in rows[:6]:
        for ref in row.senses.values():
            (tmp_path / ref.path).parent.mkdir(exist_ok=True)
            (tmp_path / ref.path).write_bytes((folder / ref.path).read_bytes())
    broken = [rows[1].senses["audio"].path, rows[4].senses["events"].path]
    for path in broken:
        (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:33])
    with pytest.raises(BadRecordings) as error:
        evaluate_rows(graph, rows[:6], tmp_path, seed=0)
    assert [str(tmp_path / path) in str(error.value) for path in broken] == [True, True]
    assert len(error.value.damaged) == 2


def test_example_is_a_recording_with_what_it_set_off(evaluation: Evaluation, graph: Graph) -> None:
    example, steps = evaluation.example, graph.encoding.steps
    assert set(example.inputs) == set(example.row.senses) == {"audio", "events", "imu"}
    assert {one.rows for one in example.inputs.values()} == {steps}
    assert {name: one.shape for name, one in example.layers.items()} == {
        **dict.fromkeys(("audio", "events", "imu"), (steps, 12)),
        "joint": (steps, 9),
    }
    assert decide(example.potential[-1]) == example.prediction


def test_predictions_have_a_row_for_every_answer(evaluation: Evaluation) -> None:
    table = predictions(evaluation)
    assert table.column_names == ["condition", "sense", "id", "label", "prediction"]
    assert len(table) == sum(len(answers.ids) for answers in evaluation.answers.values())
    clean = [r for r in table.to_pylist() if r["condition"] == "clean" and r["sense"] == "fused"]
    right = sum(r["label"] == r["prediction"] for r in clean)
    assert right / len(clean) == evaluation.accuracy["clean"]["fused"]["value"]


def test_keys_of_the_document_are_stable(evaluation: Evaluation, graph: Graph) -> None:
    found = document(evaluation, graph, "a graph", "a folder", 5)
    assert list(found) == [
        *("schema", "model", "data", "used", "seed", "classes", "steps", "step_ms", "provenance", "source"),
        *("accuracy", "accuracy_by_step", "confusion", "synaptic_operations", "static"),
    ]
    assert list(found["accuracy"]["n3"]["imu"]) == ["value", "low", "high", "n"]
    assert list(found["synaptic_operations"]["fused"]) == [
        *("effective_acs", "effective_macs", "dense", "activation_sparsity", "firing_rate", "connections"),
        "recordings",
    ]
    assert list(found["data"]) == ["source", "digest", "synthetic", "sources", "recordings", "fused", "joined"]
    assert found["schema"] == 1 and found["data"]["recordings"] == {"audio": 20, "events": 20, "imu": 20}


def test_data_digest_is_of_content_and_label(graph: Graph, rows: list[Row], folder: Path, tmp_path: Path) -> None:
    def digest(chosen: list[Row], root: Path) -> str:
        return document(evaluate_rows(graph, chosen, root, 0), graph, "", "", 0)["data"]["digest"]

    (tmp_path / "link").symlink_to(folder)
    moved = [
        replace(r, id=f"x{r.id}", senses={s: replace(f, path=f"link/{f.path}") for s, f in r.senses.items()})
        for r in rows[:3]
    ]
    here = digest(rows[:3], folder)
    assert digest(moved, tmp_path) == here
    assert digest(rows[:2], folder) != here
    assert digest([replace(rows[0], label="1"), *rows[1:3]], folder) != here
