"""The stage `train`: spikes in, the best network as a graph out, with its learning curves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_fusion.config import EncodingParams, Params
from snn_fusion.data.manifest import DATA_SET, Row, read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.workspace import Workspace, code_digest, digest, git_commit, remove_tree

if TYPE_CHECKING:  # they import torch, which takes seconds that a stage with nothing to do does not need
    from snn_fusion.network.fusion import FusionNetwork
    from snn_fusion.training.batches import TrainingData
    from snn_fusion.training.team import Team

CODE = ("data", "encoding", "network", "training")


def train(params: Params, ws: Workspace) -> dict[str, Any]:
    """Train on the encoded training split; the test split is not read.

    Writes `graph/`, `history.csv` (a row an epoch), `training.json` and the last `checkpoint.safetensors`. A killed
    run goes on from `checkpoints/<inputs>/` and ends with the same weights.
    """
    inputs = training_inputs(params, ws)
    checkpoint = ws.path("checkpoints", digest(inputs)[:16], "checkpoint.safetensors")
    alone = os.environ.get("WORLD_SIZE", "1") == "1"  # a team has to agree on it
    if alone and (done := ws.finished("trained", inputs)) is not None:
        remove_tree(checkpoint.parent)
        return done
    from snn_fusion.training.loop import fit
    from snn_fusion.training.team import team

    with team() as group:
        if not group.leads:
            if group.tell():  # else the leader found the result in place
                data = read_training_data(params, ws)
                fit(new_network(params, data), data, params, checkpoint, lambda *_: None, group)
            return {}
        return _lead(params, ws, inputs, checkpoint, group)


def _lead(params: Params, ws: Workspace, inputs: dict[str, str], checkpoint: Path, group: Team) -> dict[str, Any]:
    from snn_fusion.network.graph import load_graph, save_graph
    from snn_fusion.network.trained_on import KEY as RECORDINGS
    from snn_fusion.network.trained_on import write_trained_on
    from snn_fusion.training.loop import fit
    from snn_fusion.training.progress import training_progress

    def work(out: Path) -> dict[str, Any]:
        group.tell(True)
        data = read_training_data(params, ws)
        network = new_network(params, data)
        with training_progress(params.training.epochs) as report:
            progress = fit(network, data, params, checkpoint, report, group)
        validated = ws.digest("validated", *DATA_SET)
        provenance = {"commit": git_commit(), "data": validated, "inputs": inputs, "seed": params.seed}
        rows = [row for row in _rows(ws) if row.split == "train"]
        provenance[RECORDINGS] = write_trained_on(out / "graph", rows, data.senses)
        save_graph(out / "graph", network, framed(params, ws), data.classes, provenance)
        (out / "history.csv").write_text(_table(progress.history))
        shutil.copyfile(checkpoint, out / "checkpoint.safetensors")
        best = progress.history[progress.best_epoch - 1]
        result = {
            "epochs": progress.epochs,
            "best_epoch": progress.best_epoch,
            **{key: round(value, 4) for key, value in best.items() if key.startswith("val_")},
            "used": used(data),
            "weights_digest": load_graph(out / "graph").weights_digest,
        }
        (out / "training.json").write_text(json.dumps(result, indent=1))
        return result

    result = ws.build("trained", inputs, work)
    if result["up_to_date"]:
        group.tell(False)
    remove_tree(checkpoint.parent)  # only now: until the stage's folder is in place, a kill must not lose it
    return result


def framed(params: Params, ws: Workspace) -> EncodingParams:
    """The encoder's parameters with the camera's frame, as the stage `encode` found it, if it says one."""
    from snn_fusion.encoding.frame import with_frame

    path = ws.path("encoded", "encoding.json")
    encoded = json.loads(path.read_text()) if path.is_file() else {}
    return with_frame(params.encoding, encoded.get("events", {}).get("frame"))


def used(data: TrainingData) -> dict[str, float | None]:
    """Mean share of the recordings trained on that lies in the network's window, by sense; None for silence alone."""
    from snn_fusion.training.batches import MISSING

    found: dict[str, float | None] = {}
    for sense, rows in data.fit.recording.items():
        share = data.stores[sense].meta["used"][np.unique(rows[rows != MISSING])]
        found[sense] = None if np.isnan(share).all() else round(float(np.nanmean(share)), 4)
    return found


def training_inputs(params: Params, ws: Workspace) -> dict[str, str]:
    """Digests of all that the weights depend on. Raises BadInput if nothing has been encoded."""
    return {
        "encoded": ws.digest("encoded"),
        "params": digest(
            params.data, params.network, params.training, params.validation.disjoint_subjects, params.seed
        ),
        "code": code_digest(*CODE),
    }


def new_network(params: Params, data: TrainingData) -> FusionNetwork:
    """The network before training, its weights drawn from the seed."""
    from snn_fusion.encoding.encoder import inputs as input_channels
    from snn_fusion.network.fusion import FusionNetwork
    from snn_fusion.network.graph import initial_generator

    sizes = {sense: input_channels(params.encoding, sense) for sense in data.senses}
    slope, generator = params.training.surrogate_slope, initial_generator(params.seed)
    return FusionNetwork(sizes, len(data.classes), params.network, slope, generator)


def read_training_data(params: Params, ws: Workspace) -> TrainingData:
    """The training split of the workspace's encoded recordings."""
    from snn_fusion.encoding.store import SpikeStore
    from snn_fusion.training.batches import training_data

    stores = {sense: SpikeStore.open(ws.path("encoded", f"{sense}.arrow")) for sense in SENSES}
    joined = read_manifest(ws.path("validated", "joined.parquet"))
    single = read_manifest(ws.path("validated", "recordings.parquet"))
    used = {s: store for s, store in stores.items() if len(store) and s in params.network.branch}
    return training_data(params, used, joined, single)


def _rows(ws: Workspace) -> list[Row]:
    """Every recording of the data set, joined or not."""
    return [row for name in DATA_SET for row in read_manifest(ws.path("validated", name))]


def _table(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
