"""An evaluation as a table on the terminal. Imports nothing heavy: it is also shown when nothing was to be done."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from snn_fusion.benchmark.conditions import CONDITIONS, VIEWS


def table(content: dict[str, Any]) -> Table:
    """Accuracy in per cent with its 95 % interval, a line a condition, a column a sense."""
    accuracy = content["accuracy"]
    views = [view for view in VIEWS if view in accuracy["clean"]]
    shown = Table(
        box=None,
        padding=(0, 1),
        pad_edge=False,
        title="accuracy in % (95 % interval)",
        title_style="bold",
        title_justify="left",
    )
    shown.add_column("condition", no_wrap=True)
    for view in views:
        shown.add_column(f"{view} [dim]n={accuracy['clean'][view]['n']}[/]", justify="right", no_wrap=True)
    for condition in (c.name for c in CONDITIONS if c.name in accuracy):
        shown.add_row(condition, *(cell(accuracy[condition].get(view)) for view in views))
    return shown


def used_line(content: dict[str, Any]) -> str:
    """How much of the recordings the network saw."""
    shares = {sense: one["mean_share"] for sense, one in content["used"].items()}
    said = [f"{sense} {'nothing' if share is None else f'{share:.1%}'}" for sense, share in shares.items()]
    return f"in the window, of what went on in the recordings: {', '.join(said)}"


def cell(measured: dict[str, float] | None) -> str:
    if measured is None:
        return ""
    value, low, high = (f"{100 * measured[key]:.1f}".replace("100.0", "100") for key in ("value", "low", "high"))
    return f"[bold]{value}[/] [dim]{low}–{high}[/]"
