"""The benchmark's pictures for docs/images: all libraries side by side, and our cost against each size."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.compare import Comparison
from engine.driver import MODULE, OURS
from engine.extras import SWEEPS, Line
from engine.report import SHORT, Report, number
from snn_fusion.benchmark.style import INK, MUTED

OUR_COLOUR, PEER_COLOUR, UNEQUAL_COLOUR = "#d55e00", "#0072b2", "#8fb8d6"


def side_by_side(report: Report) -> Figure:
    """A panel a workload, a bar a library, milliseconds on a logarithmic axis."""
    variants = report.variants
    drawn = Figure(figsize=(2.3 * len(report.comparisons) + 1.2, 0.32 * len(variants) + 1.2), layout="constrained")
    panels = drawn.subplots(1, len(report.comparisons), sharey=True, squeeze=False)[0]
    for axes, comparison in zip(panels, report.comparisons, strict=True):
        _bars(axes, comparison, variants)
    panels[0].set_yticks(range(len(variants)), variants)
    panels[0].invert_yaxis()
    drawn.supxlabel("milliseconds, logarithmic; pale: not the same neuron", fontsize=9, color=MUTED)
    return drawn


def _bars(axes: Axes, comparison: Comparison, variants: list[str]) -> None:
    there = [(i, v, comparison.median(v)) for i, v in enumerate(variants) if v in comparison.ms]
    low, high = min(ms for *_, ms in there), max(ms for *_, ms in there)
    for i, variant, ms in there:
        equal = variant not in comparison.agreement or comparison.agreement[variant].equal
        colour = OUR_COLOUR if variant in (OURS, MODULE) else PEER_COLOUR if equal else UNEQUAL_COLOUR
        axes.barh(i, ms, color=colour, height=0.68)
        axes.text(ms * 1.12, i, number(ms), va="center", fontsize=8, color=INK)
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    axes.set_xlim(low / 3, high * 6)
    axes.set_title(SHORT.get(comparison.work.name, comparison.work.name), fontsize=9.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def cost(lines: dict[str, Line]) -> Figure:
    """Our training step against density, batch, steps and neurons, with the line through the points."""
    drawn = Figure(figsize=(8, 5.4), layout="constrained")
    for axes, (name, line) in zip(drawn.subplots(2, 2).flat, lines.items(), strict=True):
        percent = 100 if name == "density" else 1
        slope, offset = line.fit
        x = [0.0, max(line.x)]
        axes.plot([percent * v for v in x], [offset + slope * v for v in x], color=MUTED, linewidth=1.2)
        axes.plot([percent * v for v in line.x], line.ms, "o", color=OUR_COLOUR, markersize=5)
        axes.set_xlabel(SWEEPS[name][0])
        axes.set_ylabel("ms a training step")
        axes.set_ylim(0, 1.1 * max(line.ms))
        axes.set_xlim(0)
        axes.set_title(f"linear fit, R² = {line.r2:.3f}")
        axes.set_axisbelow(True)
        axes.grid()
    return drawn
