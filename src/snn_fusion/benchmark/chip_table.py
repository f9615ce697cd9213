"""The targets side by side, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from snn_fusion.benchmark.conditions import HARD_CONDITIONS
from snn_fusion.targets.names import TITLES

# Measurements that every target is asked for, as the guides of the field list them: name, heading, factor, unit.
COLUMNS = (
    ("latency", "latency", 1e3, "ms"),
    ("power", "power", 1e3, "mW"),
    ("energy", "energy", 1e3, "mJ"),
    ("memory", "memory", 1 / 1024, "kB"),
    ("cores", "cores", 1, ""),
    ("effective ACs", "ACs", 1e-6, "M"),
)
SHORT = {"measured": "measured", "vendor_simulated": "vendor", "emulated": "emulated", "estimated": "estimate"}


def table(content: dict[str, Any]) -> Table:
    """One line a target; under each number where it comes from."""
    shown = Table(box=None, padding=(0, 1), pad_edge=False, title="the network on each chip", title_justify="left")
    shown.title_style = "bold"
    shown.add_column("platform", no_wrap=True)
    for heading in ("accuracy", "hard", "lost at most", "differs"):
        shown.add_column(heading, justify="right")
    for _, heading, _, _ in COLUMNS:
        shown.add_column(heading, justify="right")
    for name, chip in content["targets"].items():
        shown.add_row(*row(name, chip))
    return shown


def row(name: str, chip: dict[str, Any]) -> list[str]:
    if chip["state"] != "measured":
        return [TITLES[name], f"[yellow]{chip['state']}[/]", "", chip["why"]]
    view = chip["measured_on"]
    cells = [number(find(chip, metric), factor, unit) for metric, _, factor, unit in COLUMNS]
    clean, hard = accuracy(chip, view)
    lost = max(one["lost"] / one["n"] for views in chip["fidelity"].values() for one in views.values())
    mark = "[green]✓[/]" if chip["passed"] else "[red]✗[/]"
    compiled = chip["compiled"]["conformance"]
    wrong = compiled["spikes"] + compiled["potentials"] + compiled.get("words", 0)
    percent = f"{max(lost, 0) * 100:.1f} % {mark}"
    return [TITLES[name], f"{100 * clean:.1f} %", f"{100 * hard:.1f} %", percent, f"{wrong:,}", *cells]


def accuracy(chip: Mapping[str, Any], view: str) -> tuple[float, float]:
    """Clean, and the mean of the hard conditions."""
    found = chip["fidelity"]
    hard = [found[c][view]["chip"] for c in HARD_CONDITIONS if view in found.get(c, {})]
    return found["clean"][view]["chip"], sum(hard) / len(hard)


def find(chip: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    return next((one for one in chip["measurements"] if one["metric"] == metric), None)


def number(one: dict[str, Any] | None, factor: float, unit: str) -> str:
    if one is None or one["value"] is None:
        return "[dim]unavailable[/]"
    value = one["value"] * factor
    text = f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"
    return f"{text}{' ' if unit else ''}{unit}\n[dim]{SHORT[one['provenance']]}[/]"
