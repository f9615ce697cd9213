"""An evaluation as plain data: evaluation.json (docs/evaluation.md), predictions.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from snn_fusion.benchmark.conditions import VIEWS
from snn_fusion.benchmark.evaluate import Evaluation
from snn_fusion.benchmark.operations import SOURCE
from snn_fusion.data.dataset import SYNTHETIC
from snn_fusion.data.recording import SENSES
from snn_fusion.network.graph import Graph
from snn_fusion.workspace import digest

SCHEMA = 1


def document(
    evaluation: Evaluation, graph: Graph, model: str, data: str, seed: int, used: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of evaluation.json; `model` and `data` say in words what was tested on what.

    `used`: how much of the recordings the network saw (benchmark/used.py).
    """
    answers = evaluation.answers
    return {
        "schema": SCHEMA,
        "model": {
            "source": model,
            "digest": graph.digest,
            "weights_digest": graph.weights_digest,
            "senses": list(graph.network.senses),
        },
        "data": {
            "source": data,
            "digest": data_digest(evaluation),
            "synthetic": any(row.source == SYNTHETIC for row in evaluation.rows),
            "sources": sorted({row.source for row in evaluation.rows}),
            "recordings": {s: len(answers["clean", s].ids) for s in SENSES if ("clean", s) in answers},
            "fused": len(answers["clean", "fused"].ids) if ("clean", "fused") in answers else 0,
            "joined": evaluation.joined,
        },
        "used": dict(used or {}),
        "seed": seed,
        "classes": list(evaluation.classes),
        "steps": graph.encoding.steps,
        "step_ms": graph.encoding.step_ms,
        "provenance": "measured",
        "source": SOURCE,
        "accuracy": evaluation.accuracy,
        "accuracy_by_step": dict(evaluation.by_step),
        "confusion": {view: evaluation.confusion(view).tolist() for view in VIEWS if ("clean", view) in answers},
        "synaptic_operations": dict(evaluation.operations),
        "static": evaluation.static,
    }


def metrics(content: dict[str, Any]) -> dict[str, Any]:
    """The few numbers by which versions are compared at a glance: accuracies, and what a fused answer costs."""
    accuracy = {c: {view: one["value"] for view, one in views.items()} for c, views in content["accuracy"].items()}
    costs = {view: one["effective_acs"]["value"] for view, one in content["synaptic_operations"].items()}
    return {"accuracy": accuracy, "synaptic_operations": costs}


def data_digest(evaluation: Evaluation) -> str:
    """SHA-256 over label and content of the recordings tested, wherever they lie and in whatever order."""
    found = [(row.label, sense, ref.sha256) for row in evaluation.rows for sense, ref in row.senses.items()]
    return digest(sorted(found))


def predictions(evaluation: Evaluation) -> pa.Table:
    """Every answer: condition, sense, id, label, prediction (class names)."""
    names = evaluation.classes
    columns: dict[str, list[str]] = {name: [] for name in ("condition", "sense", "id", "label", "prediction")}
    for (condition, view), answers in evaluation.answers.items():
        n = len(answers.ids)
        columns["condition"] += [condition] * n
        columns["sense"] += [view] * n
        columns["id"] += answers.ids
        columns["label"] += [names[k] for k in answers.labels]
        columns["prediction"] += [names[k] for k in answers.predictions]
    return pa.table(columns)
