"""Training under torchrun: processes share every batch, and the result is that of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from snn_fusion.config import check_params
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import load_graph
from snn_fusion.training.stage import train
from snn_fusion.training.team import Team, team
from snn_fusion.workspace import Workspace
from tests.training.conftest import raw_params
from tests.training.test_train import copy_of

BIN = Path(sys.executable).parent


def test_two_processes_train_what_one_does(ready: Workspace, tmp_path: Path) -> None:
    raw = raw_params(epochs=2, recordings_per_epoch=47)  # the last batch cannot be shared evenly
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(raw))
    alone = Workspace(copy_of(ready, tmp_path / "alone"))
    train(check_params(raw), alone)
    command = [BIN / "torchrun", "--standalone", "--nproc-per-node", "2", "--no-python", BIN / "snn-fusion", "train"]
    done = subprocess.run(
        [*map(str, command), "--json", "--params", str(params)], capture_output=True, text=True, env=os.environ.copy()
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # one process speaks
    assert json.loads(line)["epochs"] == 2
    expected = load_graph(alone.path("trained", "graph")).network.state_dict()
    for name, found in load_graph(ready.path("trained", "graph")).network.state_dict().items():
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-3)
    again = subprocess.run(
        [*map(str, command), "--json", "--params", str(params)], capture_output=True, text=True, env=os.environ.copy()
    )
    assert json.loads(again.stdout)["up_to_date"], again.stderr


def test_shares_of_a_batch_are_whole_and_weighted_so_that_their_mean_is_the_batchs() -> None:
    for n in (1, 2, 5, 16):
        for size in (1, 2, 3):
            teams = [Team(rank, size, size) for rank in range(size)]
            assert sorted(i for t in teams if t.weight(n) for i in t.share(n)) == list(range(n))
            assert sum(t.weight(n) for t in teams) == pytest.approx(size)
            assert all(len(t.share(n)) for t in teams)


def test_half_of_torchruns_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(BadInput, match="torchrun's variables are not whole"), team():
        pass
