"""The targets side by side, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from snn_fusion.benchmark.conditions import HARD_CONDITIONS
from snn_fusion.targets.names import TITLES

# Measurements that every target is asked for, as the guides of the field list them, with the units to show them in.
COLUMNS: tuple[tuple[str, tuple[tuple[float, str], ...]], ...] = (
    ("latency", ((1e-3, "ms"), (1.0, "s"))),
    ("power", ((1e-3, "mW"), (1.0, "W"))),
    ("energy", ((1e-3, "mJ"), (1.0, "J"))),
    ("memory", ((1e3, "kB"), (1e6, "MB"))),
    ("cores", ((1.0, ""),)),
)
MARKS = {"measured": "", "emulated": "", "vendor_simulated": "*", "estimated": "≈", "unavailable": ""}
LEGEND = "accuracy by simulators that are equal to the vendor's tool; ≈ estimated, * vendor's tool, – unavailable"


def table(content: Mapping[str, Any]) -> RenderableType:
    """One line a target, fused answers (or the only sense's); below it what could not be measured, and why."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, title="on each chip", title_justify="left")
    shown.title_style = "bold"
    shown.add_column("platform", no_wrap=True)
    for heading in ("clean %", "hard %", "lost %", "differs", *(metric for metric, _ in COLUMNS)):
        shown.add_column(heading, justify="right", no_wrap=True)
    notes = []
    for name, chip in content["targets"].items():
        if chip["state"] == "measured":
            shown.add_row(*row(name, chip))
        else:
            notes.append(Text(f"{TITLES[name]} {chip['state']}: {chip['why']}", style="yellow"))
    waived = content["verdict"].get("waived", {})
    notes += [Text(f"{TITLES[name]} waived: {why}", style="yellow") for name, why in waived.items()]
    notes += [Text(line, style="yellow") for line in left_out(content)]
    return Group(shown, Text(LEGEND, style="dim"), *notes)


def left_out(content: Mapping[str, Any]) -> list[str]:
    """The conditions that were not measured, each reason once, with the targets that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, conditions in content["verdict"].get("not_measured", {}).items():
        for condition, why in conditions.items():
            found.setdefault((condition, why), []).append(TITLES[name])
    return [f"{condition}: not measured on {', '.join(names)}: {why}" for (condition, why), names in found.items()]


def row(name: str, chip: Mapping[str, Any]) -> list[str]:
    clean, hard = accuracy(chip, chip["measured_on"])
    lost = max(one["lost"] / one["n"] for views in chip["fidelity"].values() for one in views.values())
    mark = "[green]✓[/]" if chip["passed"] else "[red]✗[/]"
    found = chip["compiled"]["conformance"]
    wrong = found["spikes"] + found["potentials"] + found["words"]
    cells = [number(find(chip, metric), units) for metric, units in COLUMNS]
    return [
        TITLES[name],
        f"{100 * clean:.1f}",
        f"{100 * hard:.1f}",
        f"{max(lost, 0) * 100:.1f} {mark}",
        f"{wrong:,}",
        *cells,
    ]


def accuracy(chip: Mapping[str, Any], view: str) -> tuple[float, float]:
    """Clean, and the mean of the hard conditions."""
    found = chip["fidelity"]
    hard = [found[c][view]["chip"] for c in HARD_CONDITIONS if view in found.get(c, {})]
    clean = found["clean"][view]["chip"]
    return clean, sum(hard) / len(hard) if hard else clean


def find(chip: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    return next((one for one in chip["measurements"] if one["metric"] == metric), None)


def number(one: Mapping[str, Any] | None, units: tuple[tuple[float, str], ...]) -> str:
    """With the largest unit of which there is at least one, and the mark of its provenance."""
    if one is None or one["value"] is None:
        return "[dim]–[/]"
    size, unit = max((u for u in units if one["value"] >= u[0]), default=units[0])
    value = one["value"] / size
    text = f"{value:,.0f}" if value >= 100 or not unit else f"{value:.3g}"
    return f"{text} {unit}".strip() + MARKS[one["provenance"]]
