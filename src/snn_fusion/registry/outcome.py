"""What a run of the DAG came to: as plain data for machines, as a summary for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from snn_fusion.benchmark.chip_table import table
from snn_fusion.registry.dag_log import DagLog
from snn_fusion.workspace import Workspace

VIEWS = {"audio": "sound alone", "events": "event camera alone", "imu": "tactile/IMU alone", "fused": "all fused"}


def outcome(ws: Workspace, log: DagLog, seconds: float, log_file: Path) -> dict[str, Any]:
    """Numbers and places of a run in which every stage succeeded, from what the stages said and wrote."""
    evaluation = json.loads(ws.path("evaluated", "evaluation.json").read_text())
    promotion = log.stages["promote"].result
    return {
        "accuracy": evaluation["accuracy"]["clean"],
        "synthetic": evaluation["data"]["synthetic"],
        "weights_digest": evaluation["model"]["weights_digest"],
        "version": log.stages["register"].result["version"],
        "promoted": promotion["promoted"],
        "champion": promotion["promoted"] or promotion["champion_before"] == promotion["version"],
        "why": promotion["reason"],
        "seconds": round(seconds, 1),
        "stages": {name: round(stage.seconds, 1) for name, stage in log.stages.items()},
        "up_to_date": [name for name, stage in log.stages.items() if stage.up_to_date],
        "chips": json.loads(ws.path("compared", "targets.json").read_text()),
        "report": str(ws.path("compared", "report.html")),
        "validation": str(ws.path("validated", "validation.html")),
        "log": str(log_file),
    }


def print_outcome(result: dict[str, Any], console: Console | None = None) -> None:
    """The summary that ends `snn-fusion retrain`."""
    console = console or Console()
    console.print()
    if result["synthetic"]:
        text = "This run used SYNTHETIC recordings. Its numbers say nothing about real sensors."
        console.print(Panel(text, style="bold yellow", expand=False))
    console.print(_accuracy(result["accuracy"]))
    console.print()
    console.print(table(result["chips"]), highlight=False)
    console.print()
    verdict = "[green]champion[/]" if result["champion"] else "[yellow]not promoted[/]"
    stands = result["champion"] and not result["promoted"]  # then the reason says it all
    lines = {
        "model": result["why"] if stands else f"version {result['version']}, {verdict}: {result['why']}",
        "weights": result["weights_digest"],
        "time": _times(result),
        "report": result["report"],
        "validation": result["validation"],
        "log": result["log"],
        "look further": "make ui (MLflow, Airflow), .venv/bin/snn-fusion --help",
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:13}[/]{text}", highlight=False, soft_wrap=True)


def _accuracy(accuracy: dict[str, Any]) -> Table:
    table = Table("test accuracy", "%", "95 % interval", "recordings", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for view, words in VIEWS.items():
        if view in accuracy:
            one = accuracy[view]
            interval = f"{100 * one['low']:.1f} - {100 * one['high']:.1f}"
            table.add_row(words, f"[bold]{100 * one['value']:.1f}[/]", interval, str(one["n"]))
    return table


def _times(result: dict[str, Any]) -> str:
    stages = result["stages"].items()
    parts = (
        f"{name} up to date" if name in result["up_to_date"] else f"{name} {seconds:.0f}" for name, seconds in stages
    )
    total = sum(result["stages"].values())
    return f"{result['seconds']:.0f} s ({', '.join(parts)}, Airflow {max(result['seconds'] - total, 0):.0f})"
