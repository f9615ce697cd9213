"""A workspace just before `train`: small spike stores whose labels can be learnt in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from snn_fusion.config import Params, check_params
from snn_fusion.data.dataset import join_by_label
from snn_fusion.data.manifest import Ref, Row, write_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.store import write
from snn_fusion.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
LABELS, EACH, SUBJECTS = ("a", "b", "c"), 16, 4


def raw_params(**training: Any) -> dict[str, Any]:
    """params.yaml with a small encoder and network; `training` overrides."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["encoding"]["onset"] |= {"look_back_ms": 100.0}
    raw["encoding"] |= {"steps": 12, "taps": [0, 3], "copies": {"audio": 1, "events": 1, "imu": 0}}
    raw["encoding"]["audio"]["bands"] = 4
    raw["encoding"]["events"]["grid"] = 3
    raw["network"] |= {"branch": {"audio": 12, "events": 12, "imu": 12}, "joint": 12}
    small = {"epochs": 4, "batch": 16, "recordings_per_epoch": 48, "learning_rate": 0.01, "sense_dropout": 0.5}
    raw["training"] |= {**small, **training}
    return raw


@pytest.fixture
def small() -> Params:
    return check_params(raw_params())


@pytest.fixture
def ready(workspace: Workspace, small: Params) -> Workspace:
    """A workspace whose stages up to `encode` are done."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for sense in SENSES:
        for label in LABELS:
            for i in range(EACH):
                path = f"{sense}/{label}{i}"
                ref = Ref(path, f"sha-{path}", f"{sense}-{i % SUBJECTS}")
                rows.append(Row(path, label, "train", "made", {sense: ref}))
    write_manifest(workspace.path("validated", "recordings.parquet"), rows)
    write_manifest(workspace.path("validated", "joined.parquet"), join_by_label(rows, 0, reuse=True))
    code = small.encoding
    for sense in SENSES:
        size = channels(code, sense)
        favourite = {label: rng.random(size) < 0.3 for label in LABELS}  # the channels that a label likes
        having = [row for row in rows if sense in row.senses]
        described = [(row, copy) for row in having for copy in range(1 + code.copies[sense])]
        spikes = [
            Spikes.from_dense(rng.random((code.steps, size)) < np.where(favourite[row.label], 0.4, 0.03))
            for row, _ in described
        ]
        meta = {
            "id": [row.id for row, _ in described],
            "path": [row.senses[sense].path for row, _ in described],
            "copy": [copy for _, copy in described],
            "used": [1.0] * len(described),
        }
        write(workspace.path("encoded", f"{sense}.arrow"), meta, spikes, size, code.steps)
    for stage in ("validated", "encoded"):
        stamp = {"inputs": {}, "digest": f"digest of {stage}", "result": {}}
        workspace.path(stage, "stage.json").write_text(json.dumps(stamp))
    return workspace
