"""The benchmark's sections of docs/engine.md and docs/results.md, between two markers, and its pictures."""

from __future__ import annotations

from pathlib import Path

from section import replace

from engine import pictures
from engine.report import Report, goal_cells, goals, markdown, notes, times
from snn_fusion.benchmark.style import house_style, png

BEGIN, END = "<!-- engine: make bench ARGS=--write -->", "<!-- /engine -->"
TITLE = "# The event-driven engine"


def write(report: Report, docs: Path) -> list[Path]:
    """Replace the sections (or append them, where there are none) and draw the pictures; returns what was written."""
    images = docs / "images"
    images.mkdir(exist_ok=True)
    written = [docs / "engine.md", docs / "results.md", images / "engine_peers.png"]
    with house_style():
        written[2].write_bytes(png(pictures.side_by_side(report), dpi=120))
        if report.cost:
            written.append(images / "engine_cost.png")
            written[3].write_bytes(png(pictures.cost(report.cost), dpi=110))
    replace(written[0], BEGIN, END, section(report), TITLE)
    replace(written[1], BEGIN, END, summary(report))
    return written


def summary(report: Report) -> str:
    """For the page of results: what was wanted and reached, and the picture."""
    return "\n\n".join(
        [
            "## The engine against the libraries that users know",
            '    make bench ARGS="--only engine --write"',
            _ratios(report),
            "![Milliseconds of each library](images/engine_peers.png)",
            "Each row is a ratio in one run, at equal results; milliseconds and what has to be known to read them:\n"
            "[engine.md](engine.md#side-by-side).",
        ]
    )


def _ratios(report: Report) -> str:
    head = ["workload", "against", "times", "wanted", "reached"]
    return markdown(head, [goal_cells(goal) for goal in goals(report)], lambda i: i in (2, 3))


def section(report: Report) -> str:
    head, rows = times(report)
    parts = [
        "## Side by side\n\n    make bench",
        "Milliseconds, all libraries on the same weights and spikes (* other results, see below):",
        markdown(head, rows, lambda i: i > 0),
        "![Milliseconds of each library](images/engine_peers.png)",
        _ratios(report),
        "\n".join(f"- {line}" for line in notes(report)),
    ]
    if report.cost:
        parts.append(
            "A training step of the first workload while one of its sizes changes; the line is a least-squares fit. A\n"
            "point is the fastest of five calls, median over rounds:\n\n"
            "![Cost against density, batch, steps and neurons](images/engine_cost.png)"
        )
    return "\n\n".join(parts)
