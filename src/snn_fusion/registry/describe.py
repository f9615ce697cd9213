"""What MLflow's pages of runs and versions show first: accuracies, and how a version stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snn_fusion.data.recording import SENSES
from snn_fusion.registry.lineage import DataSet
from snn_fusion.registry.versions import Version, evaluated

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE = "mlflow.note.content"  # the tag that a page shows as its description


def description(evaluation: Mapping[str, Any], synthetic: bool) -> str:
    """The accuracies of each condition, in Markdown."""
    kind = "**synthetic** recordings: the numbers say nothing about real sensors" if synthetic else "recordings"
    lines = [f"Test accuracy on {kind}. Whole report: `report.html` among the artefacts of the run.", ""]
    views = [view for view in (*SENSES, "fused") if any(view in one for one in evaluation["accuracy"].values())]
    lines += [f"| condition | {' | '.join(views)} |", "|---" * (1 + len(views)) + "|"]
    for condition, found in evaluation["accuracy"].items():
        shares = (f"{100 * found[view]['value']:.1f} %" if view in found else "" for view in views)
        lines.append(f"| {condition} | {' | '.join(shares)} |")
    return "\n".join(lines)


def clean_accuracy(evaluation: Mapping[str, Any]) -> str:
    """The accuracy on clean recordings in a few characters: of the fused answers, else of each sense."""
    found = evaluation["accuracy"].get("clean", {})
    if "fused" in found:
        return f"{100 * found['fused']['value']:.1f} %"
    return ", ".join(f"{sense} {100 * found[sense]['value']:.1f} %" for sense in SENSES if sense in found)


def run_name(evaluation: Mapping[str, Any], data: DataSet, weights: str) -> str:
    """A run's name that tells it from others: recordings, accuracy, the beginning of the weights' digest."""
    return f"{'+'.join(sorted({row.source for row in data.recordings}))} {clean_accuracy(evaluation)} {weights[:8]}"


def describe(client: MlflowClient, version: Version, standing: str) -> None:
    """How a version stands, and below that its accuracies, where people look at it in MLflow."""
    table = client.get_run(evaluated(version).run_id).data.tags.get(NOTE, "")
    client.update_model_version(version.model, version.number, f"{standing}\n\n{table}".strip())
