"""Recordings that a network was trained on are told by their content, and kept apart in the numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from snn_fusion.benchmark.stage import evaluate_folder
from snn_fusion.config import Params
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import FILES, files_digest
from snn_fusion.network.trained_on import FILE, KEY, write_trained_on
from snn_fusion.workspace import Workspace


@pytest.fixture
def graph_of(graph_folder: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Writes the graph as if it had been trained on these rows."""

    def make(rows: list[Row]) -> Path:
        place = tmp_path / "graph"
        shutil.copytree(graph_folder, place)
        meta = json.loads((place / "graph.json").read_text())
        meta["training"][KEY] = write_trained_on(place, rows, SENSES)
        (place / "graph.json").write_text(json.dumps(meta))
        (place / "digest").write_text(files_digest(place, FILES))
        return place

    return make


def evaluated(params: Params, ws: Workspace, graph: Path, folder: Path, out: Path) -> dict:
    evaluate_folder(params, ws, graph, folder, out)
    return json.loads(out.read_text())


def test_the_accuracy_is_of_the_recordings_that_the_network_was_not_trained_on(
    graph_of, rows: list[Row], folder: Path, params: Params, workspace: Workspace, tmp_path: Path, capsys
) -> None:
    seen = sorted(rows, key=lambda row: row.id)[::4]
    found = evaluated(params, workspace, graph_of(seen), folder, tmp_path / "out.json")
    assert found["trained_on"]["accuracy_is_of"] == "unseen"
    assert found["trained_on"]["ids"] == [row.id for row in seen]
    assert found["trained_on"]["recordings"] == {"audio": 5, "events": 5, "imu": 5}
    assert found["accuracy"]["clean"]["audio"]["n"] == 15
    assert found["trained_on"]["accuracy"]["clean"]["audio"]["n"] == 5
    said = " ".join(capsys.readouterr().err.split())
    assert "trained on 5 of the recordings (5 audio, 5 events, 5 imu): they are not in the table above" in said


def test_a_recording_is_known_again_under_another_name(
    graph_of, rows: list[Row], folder: Path, params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    table = (copy / "recordings.csv").read_text().replace("0_s0_0.wav", "renamed.wav")
    (copy / "audio" / "0_s0_0.wav").rename(copy / "audio" / "renamed.wav")
    (copy / "recordings.csv").write_text(table)
    (first,) = [row for row in rows if row.senses["audio"].path.endswith("/0_s0_0.wav")]
    found = evaluated(params, workspace, graph_of([first]), copy, tmp_path / "out.json")
    assert found["trained_on"]["recordings"]["audio"] == 1


def test_where_all_were_trained_on_the_numbers_say_so(
    graph_of, rows: list[Row], folder: Path, params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    found = evaluated(params, workspace, graph_of(rows), folder, tmp_path / "out.json")
    assert found["trained_on"]["accuracy_is_of"] == "seen"
    assert found["accuracy"] == found["trained_on"]["accuracy"]
    assert found["accuracy"]["clean"]["fused"]["n"] == 20


def test_a_graph_without_a_list_says_that_it_is_not_known(
    graph_folder: Path, folder: Path, params: Params, workspace: Workspace, tmp_path: Path, capsys
) -> None:
    found = evaluated(params, workspace, graph_folder, folder, tmp_path / "out.json")
    assert found["trained_on"] == {
        "accuracy_is_of": "unknown",
        "recordings": dict.fromkeys(SENSES, 0),
        "ids": [],
        "accuracy": {},
    }
    assert "is not on record" in " ".join(capsys.readouterr().err.split())


def test_a_list_that_was_changed_is_refused(
    graph_of, rows: list[Row], folder: Path, params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    graph = graph_of(rows)
    (graph / FILE).write_text("")
    with pytest.raises(BadInput, match=rf"{FILE}: is not the list that this network was trained on"):
        evaluate_folder(params, workspace, graph, folder)
