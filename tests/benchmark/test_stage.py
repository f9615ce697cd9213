"""The stage `evaluate` and `evaluate --data`, as they are called."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from snn_fusion.benchmark.stage import evaluate, evaluate_folder
from snn_fusion.config import Params
from snn_fusion.data.manifest import read_manifest, write_manifest
from snn_fusion.errors import BadInput, BadRecordings
from snn_fusion.workspace import Workspace

from .conftest import MakeGraph


def test_stage_tests_the_trained_network_on_the_test_split(params: Params, trained_workspace: Workspace) -> None:
    result = evaluate(params, trained_workspace)
    folder = trained_workspace.path("evaluated")
    found = json.loads((folder / "evaluation.json").read_text())
    test = [r for r in read_manifest(trained_workspace.path("validated", "recordings.parquet")) if r.split == "test"]
    assert found["data"]["recordings"] == dict.fromkeys(("audio", "events", "imu"), len(test))
    assert found["data"]["fused"] == len(test)
    table = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert {one["id"] for one in table} == {row.id for row in test}
    assert (folder / "report.html").stat().st_size > 10_000
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"accuracy.png", "time.png", "confusion_fused.png", "learning_loss.png", "example_audio.png"} <= names
    assert result["accuracy"]["fused"] == round(found["accuracy"]["clean"]["fused"]["value"], 4)
    assert result["report"] == "evaluated/report.html" and result["synthetic"] is True


def test_stage_gives_the_same_bytes_again_and_does_nothing_if_nothing_changed(
    params: Params, trained_workspace: Workspace
) -> None:
    evaluate(params, trained_workspace)
    assert evaluate(params, trained_workspace)["up_to_date"] is True
    before = trained_workspace.digest("evaluated")
    shutil.rmtree(trained_workspace.path("evaluated"))
    assert evaluate(params, trained_workspace)["up_to_date"] is False
    assert trained_workspace.digest("evaluated") == before


def test_stage_writes_the_metrics_where_it_is_told_also_if_up_to_date(
    params: Params, trained_workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path / "deep" / "first.json", tmp_path / "second.json"):
        evaluate(params, trained_workspace, out)
        expected = trained_workspace.path("evaluated", "evaluation.json").read_text()
        assert out.read_text() == expected
    capsys.readouterr()
    evaluate(params, trained_workspace, Path("-"))
    printed = capsys.readouterr()
    assert printed.out == expected
    assert "clean" in printed.err and "early_60" in printed.err


def test_stage_says_which_stage_is_missing(params: Params, workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="this stage has not been run"):
        evaluate(params, workspace)


def test_an_empty_test_split_is_refused(
    params: Params, trained_workspace: Workspace, graph_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "home")
    shutil.copytree(trained_workspace.path("validated"), workspace.path("validated"))
    for name in ("recordings", "joined"):
        path = workspace.path("validated", f"{name}.parquet")
        write_manifest(path, [replace(row, split="train") for row in read_manifest(path)])
    with pytest.raises(BadInput, match="no recording is in the test split"):
        evaluate_folder(params, workspace, graph_folder, None, None)


def test_any_graph_can_be_tested_on_the_workspaces_test_split(
    params: Params, trained_workspace: Workspace, graph_folder: Path, tmp_path: Path
) -> None:
    evaluate(params, trained_workspace)
    evaluate_folder(params, trained_workspace, graph_folder, None, tmp_path / "out.json")
    stage = json.loads(trained_workspace.path("evaluated", "evaluation.json").read_text())
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.pop("trained_on")["accuracy_is_of"] == "unknown"  # the graph of the fixture does not say it
    assert {**found, "model": {}, "data": {}} == {**stage, "model": {}, "data": {}}
    assert found["data"]["digest"] == stage["data"]["digest"]
    assert found["model"]["digest"] == stage["model"]["digest"]


def test_a_folder_is_tested_whole_and_the_workspace_is_left_alone(
    params: Params, workspace: Workspace, graph_folder: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    result = evaluate_folder(params, workspace, graph_folder, folder, out)
    found = json.loads(out.read_text())
    assert found["data"]["recordings"] == {"audio": 20, "events": 20, "imu": 20}  # both splits
    assert result["recordings"] == {"audio": 20, "events": 20, "imu": 20, "fused": 20}
    assert found["data"]["source"] == "every recording of take" and not found["data"]["synthetic"]
    assert not workspace.root.exists()


def test_part_of_the_mirror_is_tested_with_joins_by_label(
    params: Params, workspace: Workspace, graph_folder: Path, mirror: Path, tmp_path: Path
) -> None:
    data = tmp_path / "part"
    for digit in "037":
        for n in range(2):
            wav = next((mirror / "fsdd" / "recordings").glob(f"{digit}_*_{n}.wav"))
            copy(wav, data / "fsdd" / "recordings" / wav.name)
        for binary in sorted((mirror / "nmnist" / "Test" / digit).glob("*.bin"))[:3]:
            copy(binary, data / "nmnist" / "Test" / digit / binary.name)
    evaluate_folder(params, workspace, graph_folder, data, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["data"]["recordings"] == {"audio": 6, "events": 9}
    assert found["data"]["fused"] == found["data"]["joined"] == 6
    assert set(found["accuracy"]["missing_audio"]) == {"fused"} and "missing_imu" not in found["accuracy"]


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def test_an_unknown_label_is_refused(
    params: Params, workspace: Workspace, make_graph: MakeGraph, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="unknown to the network") as error:
        evaluate_folder(params, workspace, make_graph(classes=("0", "1", "two")), folder, tmp_path / "out.json")
    assert error.value.exit_code == 2 and "it knows: 0, 1, two" in str(error.value)
    assert not (tmp_path / "out.json").exists()


def test_an_empty_folder_is_refused(params: Params, workspace: Workspace, graph_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no recordings in this folder"):
        evaluate_folder(params, workspace, graph_folder, tmp_path / "empty", None)


def test_all_damaged_files_of_a_folder_are_listed(
    params: Params, workspace: Workspace, graph_folder: Path, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    broken = [next((data / "audio").iterdir()), next((data / "imu").iterdir())]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    missing = next((data / "events").iterdir())
    missing.unlink()
    with pytest.raises(BadRecordings) as error:
        evaluate_folder(params, workspace, graph_folder, data, None)
    message = str(error.value)
    assert all(path.name in message for path in (*broken, missing)) and "quarantine" not in message


def test_a_recording_that_the_networks_encoder_cannot_use_is_named_with_a_remedy(
    params: Params, workspace: Workspace, graph_folder: Path, tmp_path: Path
) -> None:
    wav = tmp_path / "data" / "fsdd" / "recordings" / "3_theo_0.wav"
    wav.parent.mkdir(parents=True)
    soundfile.write(wav, 0.1 * np.random.default_rng(0).standard_normal(3000), 4000)
    with pytest.raises(BadRecordings) as error:
        evaluate_folder(params, workspace, graph_folder, tmp_path / "data", tmp_path / "out.json")
    assert f"{wav}: audio: sample rate 4000 Hz cannot carry" in str(error.value)
    assert "resample or convert it, or use a network trained for it" in str(error.value)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    params: Params, workspace: Workspace, graph_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("snn_fusion.benchmark.evaluate.evaluate_rows", lambda *_: pytest.fail("the work was done"))
    with pytest.raises(BadInput, match=r"--json .*file is not a folder \(name another file, or '-'"):
        evaluate_folder(params, workspace, graph_folder, tmp_path, tmp_path / "file" / "deep" / "out.json")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # a read-only folder, also for root
    with pytest.raises(BadInput, match=r"cannot be written to \(name another file, or '-'"):
        evaluate_folder(params, workspace, graph_folder, tmp_path, tmp_path / "new" / "out.json")


def test_a_folder_as_output_is_refused_before_the_work(
    params: Params, workspace: Workspace, graph_folder: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        evaluate_folder(params, workspace, graph_folder, folder, tmp_path)
