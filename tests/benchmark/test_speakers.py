"""The stage `speakers`: networks that never heard a speaker, by the same recipe; left out, and impossible."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from snn_fusion.benchmark.speakers import SKIPPED, _folder_name, speakers
from snn_fusion.config import Params, check_params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import read_manifest
from snn_fusion.data.synthetic import generate
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.stage import encode
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.targets.akida.tune import tune as teach
from snn_fusion.targets.program_file import load_program
from snn_fusion.training.stage import train
from snn_fusion.validation.stage import validate
from snn_fusion.workspace import Workspace

from .conftest import ROOT

SMALL: dict[str, dict[str, Any]] = {
    "data": {"sources": ["lab"]},
    "validation": {"max_drift": 100.0, "max_class_ratio": 10.0, "disjoint_subjects": []},
    "encoding": {"steps": 10, "step_ms": 100.0, "taps": [0, 2], "copies": {}},
    "network": {"branch": {"audio": 12, "events": 12, "imu": 12}, "joint": 9},
    "training": {"epochs": 1, "batch": 32, "recordings_per_epoch": 64},
}
ANN, BOB = "ann", "../bob"  # a name is any text


def small(**data: Any) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        raw[section].update(values)
    raw["data"].update(data)
    return check_params(raw)


def imported(ws: Workspace, folder: Path, *names: str) -> None:
    """Synthetic recordings, ten a label, spoken by these in turn; validated."""
    generate(folder, seed=0, recordings_per_label=10)
    lines = list(csv.DictReader((folder / "recordings.csv").open()))
    for i, line in enumerate(lines):
        line |= {"subject": names[i % len(names)], "events": ""}  # two senses are enough, and sooner encoded
    with (folder / "recordings.csv").open("w") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    import_recordings(small(), ws, source=folder, name="lab")
    validate(small(), ws)


def test_each_network_is_what_train_makes_of_all_but_the_speaker(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn_fusion.encoding.cache.worker_pool", ThreadPoolExecutor)  # processes take seconds to start
    monkeypatch.setattr("snn_fusion.benchmark.speakers._taught", lambda: True)  # which needs no SDK
    monkeypatch.setattr("snn_fusion.targets.akida.tune.tune", partial(teach, epochs=1))
    imported(workspace, tmp_path / "lab", ANN, BOB)
    params = small()
    assert speakers(params, workspace) == {"speakers": {ANN: 50, BOB: 50}, "up_to_date": False}
    content = json.loads(workspace.path("left_out", "left_out.json").read_text())
    assert content["not_measured"] is None and [one["speaker"] for one in content["networks"]] == [BOB, ANN]
    for one in content["networks"]:
        folder = workspace.path("left_out", one["folder"])
        assert folder.resolve().parent == workspace.path("left_out").resolve()
        rows = read_manifest(folder / "recordings.parquet")
        assert {(row.split, *row.subjects, *row.senses) for row in rows} == {("test", one["speaker"], "audio")}
        examples = SpikeStore.open(folder / "examples" / "audio.arrow")
        assert examples.channels == channels(params.encoding, "audio") and 0 < len(examples) <= 50
        assert len(examples.take(np.arange(len(examples))).index) > 0
        taught, how = load_program(folder / "tuned" / "akida2")
        assert how["presentation"]["kind"] == "windows" and {p.name for p in taught} >= {"audio", "joint", "readout"}
    for stage in (validate, encode, train):  # the same by hand
        stage(small(split=f"leave-out:{ANN}"), workspace)
    wanted = load_graph(workspace.path("trained", "graph")).weights_digest
    assert load_graph(workspace.path("left_out", "ann", "graph")).weights_digest == wanted
    assert content["networks"][1]["weights_digest"] == wanted

    monkeypatch.setattr("snn_fusion.training.stage.train", lambda *_: pytest.fail("it was trained already"))
    assert speakers(params, workspace)["up_to_date"]
    assert speakers(params, workspace, skip=True)["not_measured"] == SKIPPED
    assert not workspace.path("left_out", "ann").exists()
    assert not speakers(params, workspace)["up_to_date"] and workspace.path("left_out", "ann", "graph").exists()
    assert {path.name for path in workspace.path("checkpoints", "speakers", "ann").iterdir()} >= {"network"}
    assert not workspace.path("checkpoints", "speakers", "ann", "encoded").exists()


def test_where_there_are_no_two_speakers_the_reason_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path / "lab", ANN)
    assert "name 1 speakers" in speakers(small(), workspace)["not_measured"]
    without_audio = small().model_copy(update={"network": small().network.model_copy(update={"branch": {"imu": 12}})})
    assert speakers(without_audio, workspace)["not_measured"] == "the network has no audio"


def test_what_cannot_be_trained_without_a_speaker_is_named_with_a_way_out(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(workspace, tmp_path / "lab", ANN, BOB)

    def refuse(*_: object) -> None:
        raise BadInput("params.yaml: data.split", "leaves no train recordings", "import some")

    monkeypatch.setattr("snn_fusion.validation.stage.validate", refuse)
    with pytest.raises(BadInput, match=r"without speaker \.\./bob.*leaves no train.*speakers --skip"):
        speakers(small(), workspace)
    assert not workspace.path("left_out").exists()


def test_before_anything_is_validated_the_command_to_run_is_named(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="snn-fusion validate"):
        speakers(small(), workspace)


def test_folders_of_speakers_are_folders_and_not_each_others() -> None:
    names = ["..", ".", "a/b", "a_b", "a%2Fb", "Zoë", "ann 2"]
    folders = [_folder_name(name) for name in names]
    assert len(set(folders)) == len(names) and not any("/" in one or "." in one for one in folders)
