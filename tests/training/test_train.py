"""The stage `train`, as the command is used: it learns, it is deterministic, it survives kill -9, it refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from snn_fusion.config import Params, check_params
from snn_fusion.errors import BadInput, TrainingStopped
from snn_fusion.network.graph import load_graph
from snn_fusion.training.checkpoint import load_checkpoint
from snn_fusion.training.health import check_finite, check_rates
from snn_fusion.training.stage import train
from snn_fusion.workspace import Workspace
from tests.training.conftest import raw_params

COMMAND = [Path(sys.executable).with_name("snn-fusion"), "train", "--json"]


def test_it_learns_and_leaves_a_whole_graph_and_its_curves(ready: Workspace) -> None:
    result = train(check_params(raw_params(epochs=8, recordings_per_epoch=96)), ready)
    assert result["val_accuracy_fused"] > 0.9
    graph = load_graph(ready.path("trained", "graph"))
    assert graph.weights_digest == result["weights_digest"] and graph.classes == ("a", "b", "c")
    with ready.path("trained", "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert len(history) == result["epochs"] and float(history[-1]["loss"]) < float(history[0]["loss"])
    assert {"val_accuracy_audio", "rate_joint"} <= history[0].keys()
    assert not ready.path("checkpoints").exists() or not list(ready.path("checkpoints").iterdir())


def test_a_second_run_does_nothing_and_another_seed_gives_other_weights(ready: Workspace, small: Params) -> None:
    first = train(small, ready)
    again = train(small, ready)
    assert again["up_to_date"] and again["weights_digest"] == first["weights_digest"]
    other = train(small.model_copy(update={"seed": 1}), ready)
    assert not other["up_to_date"] and other["weights_digest"] != first["weights_digest"]


def run(params: Path) -> subprocess.Popen[str]:
    command = [*COMMAND, "--params", str(params)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def test_killed_at_any_epoch_it_goes_on_to_the_same_weights(ready: Workspace, tmp_path: Path) -> None:
    raw = raw_params(epochs=4, recordings_per_epoch=160)
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(raw))
    expected = train(check_params(raw), Workspace(copy_of(ready, tmp_path / "reference")))["weights_digest"]
    for _ in range(2):
        process, before = run(params), checkpoint_time(ready)
        while checkpoint_time(ready) == before:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert not ready.path("trained").exists()
    process = run(params)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "epoch 1/" not in err  # it did go on
    assert json.loads(out)["weights_digest"] == expected


def checkpoint_time(ws: Workspace) -> int:
    """When the checkpoint was last written; 0 before the first."""
    found = list(ws.path("checkpoints").glob("*/checkpoint.safetensors"))
    return found[0].stat().st_mtime_ns if found else 0


def copy_of(ws: Workspace, root: Path) -> Path:
    subprocess.run(["cp", "-r", ws.root, root], check=True)
    return root


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(BadInput, match=r"checkpoint.safetensors: damaged checkpoint: .* \(remove it"):
        load_checkpoint(path, network, torch.optim.Adam(network.parameters()))


def test_weights_that_are_not_finite_are_named() -> None:
    network = torch.nn.ModuleDict({"joint": torch.nn.Linear(2, 2)})
    check_finite(0.5, network, 3)
    with torch.no_grad():
        network["joint"].weight[0, 0] = float("nan")
    for loss in (float("nan"), 0.5):
        with pytest.raises(TrainingStopped, match=rf"epoch 3: loss is {loss}; not finite: weights joint.weight"):
            check_finite(loss, network, 3)


def test_dead_and_saturated_layers_are_all_named() -> None:
    with pytest.raises(TrainingStopped, match=r"audio is dead \(0\); joint is saturated \(0.95\)"):
        check_rates({"audio": 0.0, "events": 0.1, "joint": 0.95}, 1)
    check_rates({"audio": 0.1}, 1)


def test_training_that_goes_wrong_stops_by_itself_and_leaves_no_result(ready: Workspace) -> None:
    with pytest.raises(TrainingStopped, match=r"epoch [01]: "):
        train(check_params(raw_params(learning_rate=1e30)), ready)
    assert not ready.path("trained").exists()


def test_weights_are_scaled_to_the_threshold_so_a_large_one_is_no_harm(ready: Workspace) -> None:
    raw = raw_params(epochs=1)
    raw["network"]["threshold"] = 1000.0
    assert train(check_params(raw), ready)["epochs"] == 1


def test_without_encoded_spikes_the_message_says_what_to_run(workspace: Workspace, small: Params) -> None:
    with pytest.raises(BadInput, match=r"this stage has not been run .*snn-fusion encode"):
        train(small, workspace)


def test_a_sense_that_the_network_has_no_branch_for_is_not_used(ready: Workspace) -> None:
    raw = raw_params(epochs=1)
    del raw["network"]["branch"]["imu"]
    train(check_params(raw), ready)
    assert load_graph(ready.path("trained", "graph")).network.senses == ("audio", "events")
