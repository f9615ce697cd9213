"""What the stages left in the workspace: the last training, the last evaluation, what chips count."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from snn_fusion.registry.run import training_time
from snn_fusion.targets.names import AKIDA
from snn_fusion.watch.families import Values, gauge
from snn_fusion.workspace import STAMP, Workspace

MOST_EPOCHS = 100  # of a learning curve: a longer one is thinned
NOT_OF_A_CURVE = ("epoch", "step", "seconds")
TARGET_OPERATIONS = {"effective ACs": "effective_acs", "effective MACs": "effective_macs"}


def training_metrics(ws: Workspace) -> Iterator[Metric]:
    """Raises OSError, ValueError or KeyError if the files cannot be read; FileNotFoundError if nothing was trained."""
    result = json.loads(ws.path("trained", "training.json").read_text())
    began, ended = (ms / 1000 for ms in training_time(ws))
    yield gauge("last_training_timestamp_seconds", "When the last training ended", ended)
    yield gauge("last_training_duration_seconds", "How long its epochs took together", ended - began)
    yield gauge("last_training_epochs", "How many epochs it had", result["epochs"])
    yield gauge("last_training_best_epoch", "The epoch whose network was kept", result["best_epoch"])
    curve = learning_curve(ws, str(result["weights_digest"])[:8])
    text = "The last training by epoch: losses, accuracies, firing rates of layers, as in trained/history.csv"
    yield gauge("learning_curve", text, curve, ("training", "measure", "epoch"))


def learning_curve(ws: Workspace, training: str) -> Values:
    """(training, measure, epoch): value."""
    with ws.path("trained", "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    every = math.ceil(len(rows) / MOST_EPOCHS) or 1
    kept = [row for i, row in enumerate(rows) if i % every == 0 or i == len(rows) - 1]
    return {
        (training, measure, row["epoch"]): float(text)
        for row in kept
        for measure, text in row.items()
        if measure not in NOT_OF_A_CURVE and text and math.isfinite(float(text))
    }


def evaluation_metrics(ws: Workspace) -> Iterator[Metric]:
    """Raises OSError, ValueError or KeyError if the file cannot be read; FileNotFoundError if nothing was evaluated."""
    content = json.loads(ws.path("evaluated", "evaluation.json").read_text())
    ended = ws.path("evaluated", STAMP).stat().st_mtime
    yield gauge("evaluation_timestamp_seconds", "When the last evaluation ended", ended)
    accuracy: Values = {
        (c, view): one["value"] for c, views in content["accuracy"].items() for view, one in views.items()
    }
    text = "Share of right answers in the last evaluation"
    yield gauge("accuracy", text, accuracy, ("condition", "view"))
    counted: Mapping[str, Any] = content.get("synaptic_operations", {})
    operations: Values = {
        (view, kind): found[kind]["value"]
        for view, found in counted.items()
        for kind in ("effective_acs", "dense")
        if kind in found
    }
    text = "Synaptic operations of the float network a clean recording, by NeuroBench's definitions"
    yield gauge("synaptic_operations", text, operations, ("view", "kind"))
    rates: Values = {
        (view, layer): one["value"]
        for view, found in counted.items()
        for layer, one in found.get("firing_rate", {}).items()
    }
    text = "Spikes a neuron and step on clean recordings in the last evaluation"
    yield gauge("evaluation_firing_rate", text, rates, ("view", "layer"))


def target_metrics(ws: Workspace) -> Iterator[Metric]:
    """Operations that a chip's simulator counted. Akida's licence forbids to publish figures: there are none of it."""
    content = json.loads(ws.path("compared", "targets.json").read_text())
    operations: Values = {
        (target, TARGET_OPERATIONS[one["metric"]], one["provenance"]): one["value"]
        for target, chip in content["targets"].items()
        if target not in AKIDA and chip["state"] == "measured"
        for one in chip["measurements"]
        if one["metric"] in TARGET_OPERATIONS and one["value"] is not None
    }
    text = "Synaptic operations a recording of what was compiled for a chip"
    yield gauge("target_synaptic_operations", text, operations, ("target", "kind", "provenance"))
