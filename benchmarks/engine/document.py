"""The benchmark's section of docs/engine.md, between two markers, and its pictures in docs/images."""

from __future__ import annotations

from pathlib import Path

from engine import pictures
from engine.report import Report, goal_cells, goals, markdown, notes, times
from snn_fusion.benchmark.style import house_style, png

BEGIN, END = "<!-- engine: make bench ARGS=--write -->", "<!-- /engine -->"
TITLE = "# The event-driven engine\n\n"


def write(report: Report, docs: Path) -> list[Path]:
    """Replace the section (or append it, where there is none) and draw the pictures; returns what was written."""
    page, images = docs / "engine.md", docs / "images"
    before, _, rest = (page.read_text() if page.exists() else TITLE).partition(BEGIN)
    after = rest.partition(END)[2] or "\n"
    images.mkdir(exist_ok=True)
    written = [page, images / "engine_peers.png"]
    with house_style():
        written[1].write_bytes(png(pictures.side_by_side(report), dpi=120))
        if report.cost:
            written.append(images / "engine_cost.png")
            written[2].write_bytes(png(pictures.cost(report.cost), dpi=110))
    page.write_text(f"{before}{BEGIN}\n{section(report)}\n{END}{after}")
    return written


def section(report: Report) -> str:
    head, rows = times(report)
    ratios = [goal_cells(goal) for goal in goals(report)]
    parts = [
        "## Side by side\n\n    make bench",
        "Milliseconds, all libraries on the same weights and spikes (* other results, see below):",
        markdown(head, rows, lambda i: i > 0),
        "![Milliseconds of each library](images/engine_peers.png)",
        markdown(["workload", "against", "times", "wanted", "reached"], ratios, lambda i: i in (2, 3)),
        "\n".join(f"- {line}" for line in notes(report)),
    ]
    if report.cost:
        parts.append(
            "A training step of the first workload while one of its sizes changes; the line is a least-squares fit. A\n"
            "point is the fastest of five calls, median over rounds:\n\n"
            "![Cost against density, batch, steps and neurons](images/engine_cost.png)"
        )
    return "\n\n".join(parts)
