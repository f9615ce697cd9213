"""The report's pictures, each drawn from plain results. Draw and save them inside `style.house_style`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator, PercentFormatter

from snn_fusion.benchmark.conditions import CONDITIONS, VIEWS, View
from snn_fusion.benchmark.style import CELL, COLOURS, INK, LINE, LONG_NAMES, MARKERS, MUTED, NAMES, ON_CELL, figure

# condition -> how the picture names it; a group starts where there is a second value
_TICKS = {
    "clean": ("clean", ""),
    "n1": ("light", "noise"),
    "n2": ("medium", "noise"),
    "n3": ("heavy", "noise"),
    "missing_audio": ("audio", "one sense silent"),
    "missing_events": ("events", "one sense silent"),
    "missing_imu": ("IMU", "one sense silent"),
    "early_20": ("20 %", "stopped early"),
    "early_40": ("40 %", "stopped early"),
    "early_60": ("60 %", "stopped early"),
}


def accuracy_by_condition(accuracy: Mapping[str, Mapping[str, Mapping[str, float]]], chance: float) -> Figure:
    """Accuracy with its 95 % interval: conditions across, a colour and a mark for each sense and for all together."""
    drawn, axes = figure(9.2, 3.9)
    names = [c.name for c in CONDITIONS if c.name in accuracy]
    views = [view for view in VIEWS if any(view in accuracy[name] for name in names)]
    for view in views:
        points = [(x, accuracy[name][view]) for x, name in enumerate(names) if view in accuracy[name]]
        value = np.array([p["value"] for _, p in points])
        bars = np.abs(np.array([[p["low"], p["high"]] for _, p in points]).T - value)
        axes.errorbar(
            [x + _shift(view, accuracy[names[x]]) for x, _ in points],
            value,
            yerr=bars,
            fmt=MARKERS[view],
            color=COLOURS[view],
            markersize=5.5 if view == "fused" else 5,
            elinewidth=1.4,
            label=LONG_NAMES[view],
        )
    low = min(p["low"] for name in names for p in accuracy[name].values())
    axes.axhline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate("chance", (len(names) - 0.52, chance), ha="right", va="bottom", color=MUTED, fontsize=8.5)
    _groups(axes, names)
    axes.set_ylim(min(low - 0.04, chance - 0.05), 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y")
    _legend_above(axes)
    return drawn


def _shift(view: View, there: Container[str]) -> float:
    """Views of one condition stand side by side, centred on its tick."""
    views = [v for v in VIEWS if v in there]
    return 0.17 * (views.index(view) - (len(views) - 1) / 2)


def _legend_above(axes: Axes) -> None:
    anchor = {"bbox_to_anchor": (0, 1.0), "borderaxespad": 0}
    axes.legend(loc="lower left", ncols=4, handletextpad=0.4, columnspacing=1.4, **anchor)


def _groups(axes: Axes, names: Sequence[str]) -> None:
    """Condition names below the axis, their groups below that, thin lines between the groups."""
    groups = [_TICKS[name][1] for name in names]
    axes.set_xticks(range(len(names)), [_TICKS[name][0] for name in names])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(names) - 0.5)
    for start in [i for i in range(1, len(names)) if groups[i] != groups[i - 1]]:
        axes.axvline(start - 0.5, color=LINE, linewidth=1)
    for group in dict.fromkeys(g for g in groups if g):
        members = [i for i, g in enumerate(groups) if g == group]
        axes.annotate(
            group,
            ((members[0] + members[-1]) / 2, 0),
            xytext=(0, -27),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=MUTED,
        )


def accuracy_over_time(by_step: Mapping[str, Sequence[float]], step_ms: float, chance: float) -> Figure:
    """Accuracy if the answer is read after each step: how soon each sense knows."""
    drawn, axes = figure(9.2, 3.0)
    for view in (v for v in VIEWS if v in by_step):
        time = step_ms * (1 + np.arange(len(by_step[view])))
        axes.plot(
            time, by_step[view], color=COLOURS[view], label=LONG_NAMES[view], linewidth=2.2 if view == "fused" else 1.7
        )
    axes.axhline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(0, step_ms * max(map(len, by_step.values())) * 1.01)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("time since the recording began (ms)")
    axes.grid(axis="y")
    _legend_above(axes)
    return drawn


def confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Rows are what was recorded, columns what was answered; a cell's shade is its share of the row."""
    size = max(3.3, 0.33 * len(classes) + 0.7)
    drawn, axes = figure(size, size)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row, column in np.argwhere(matrix > 0):
        part = share[row, column]
        shade = 0.12 + 0.88 * part  # a single mistake must be seen
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=CELL, alpha=shade, linewidth=0))
        colour = ON_CELL if part > 0.5 else INK
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center_baseline", fontsize=8, color=colour)
    n = len(classes)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_xticks(range(n), classes)
    axes.set_yticks(range(n), classes)
    axes.tick_params(length=0)
    axes.set_aspect("equal")
    axes.set_xlabel("answered")
    axes.set_ylabel("recorded")
    axes.set_title(title)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return drawn


def learning_curves(history: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, Figure]:
    """Loss, validation accuracy and firing rates by epoch, one picture each, from the columns of history.csv."""
    views = [v for v in VIEWS if f"val_accuracy_{v}" in history]
    rates = [name for name in COLOURS if f"rate_{name}" in history]
    loss = [("loss", "training", COLOURS["audio"]), ("val_loss", "validation", COLOURS["events"])]
    return {
        "loss": _curves(history, [line for line in loss if line[0] in history], "Loss", None),
        "validation": _curves(
            history,
            [(f"val_accuracy_{v}", NAMES[v], COLOURS[v]) for v in views],
            "Accuracy on the validation split",
            1.02,
        ),
        "rates": _curves(
            history,
            [(f"rate_{r}", NAMES[r], COLOURS[r]) for r in rates],
            "Firing rate (spikes a neuron and step)",
            None,
        ),
    }


def _curves(
    history: Mapping[str, npt.NDArray[np.float64]], lines: Sequence[tuple[str, str, str]], title: str, top: float | None
) -> Figure:
    drawn, axes = figure(3.7, 2.7)
    for column, label, colour in lines:
        axes.plot(history["epoch"], history[column], color=colour, label=label, marker="o", markersize=2.8)
    axes.set_ylim(0, top)
    if top is not None:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.grid(axis="y")
    axes.legend(loc="best")
    return drawn


def potentials(potential: npt.NDArray[np.float32], classes: Sequence[str], answer: int, step_ms: float) -> Figure:
    """Membrane potential of the readout of one recording, (steps, classes): the answer is the highest at the end."""
    drawn, axes = figure(4.6, 2.6)
    time = step_ms * (1 + np.arange(len(potential)))
    second = int(np.argsort(potential[-1])[-2]) if len(classes) > 1 else answer
    for k in sorted(range(len(classes)), key=lambda k: k == answer):
        colour, width, alpha = (COLOURS["fused"], 2.2, 1.0) if k == answer else (MUTED, 1.1, 0.45)
        axes.plot(time, potential[:, k], color=colour, linewidth=width, alpha=alpha)
        if k in (answer, second):
            at = (time[-1], float(potential[-1, k]))
            axes.annotate(classes[k], at, xytext=(4, 0), textcoords="offset points", va="center", annotation_clip=False)
    axes.set_xlim(0, time[-1])
    axes.set_xlabel("time (ms)")
    axes.set_title("Readout: membrane potential of each class")
    return drawn


def raster(
    steps: npt.NDArray[np.integer[Any]],
    neurons: npt.NDArray[np.integer[Any]],
    shape: tuple[int, ...],
    layer: str,
    step_ms: float,
) -> Figure:
    """Spikes of a layer at (`steps`, `neurons`) of `shape` (steps, neurons), a short line each."""
    drawn, axes = figure(4.6, 2.6)
    # one outline for all spikes: a small file, and sharp at any size
    x = step_ms * (steps + 0.5)
    vertices = np.stack([np.stack([x, neurons - 0.1], 1), np.stack([x, neurons + 0.9], 1)], 1).reshape(-1, 2)
    if len(vertices):
        codes = np.tile([Outline.MOVETO, Outline.LINETO], len(steps))
        axes.add_patch(PathPatch(Outline(vertices, codes), edgecolor=COLOURS[layer], fill=False, linewidth=1.3))
    axes.set_xlim(0, step_ms * shape[0])
    axes.set_ylim(0, shape[1])
    axes.set_xlabel("time (ms)")
    axes.set_ylabel("neuron")
    axes.set_title(f"{NAMES[layer]} layer: {len(steps):,} spikes")
    return drawn
