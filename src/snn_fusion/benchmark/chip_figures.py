"""The pictures of the page of chips. Draw and save them inside `style.house_style`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import RegularPolygon
from matplotlib.ticker import FuncFormatter

from snn_fusion.benchmark.conditions import CHIP_CONDITIONS, LEFT_OUT, VIEWS
from snn_fusion.benchmark.style import CELL, COLOURS, LINE, MARKERS, MUTED, NAMES, ON_CELL, figure

CHIP_COLOURS = ("#0072b2", "#e69f00", "#d55e00", "#009e73")


def drops(chips: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], max_drop: float) -> Figure:
    """Points of accuracy lost by condition and view, a panel a chip; the line is what may be lost."""
    names = list(chips)
    drawn = Figure(figsize=(9.2, 1.1 + 1.5 * len(names)), layout="constrained")
    panels = drawn.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    conditions = [c.name for c in CHIP_CONDITIONS if any(c.name in chip["fidelity"] for chip in chips.values())]
    for axes, name in zip(panels, names, strict=True):
        axes.set_axisbelow(True)
        axes.axhline(0, color=MUTED, linewidth=0.9)
        axes.axhline(-100 * max_drop, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for k, view in enumerate(VIEWS):
            points = [
                (x + 0.15 * (k - 1.5), 100 * (one[view]["chip"] - one[view]["float"]))
                for x, condition in enumerate(conditions)
                if view in (one := chips[name]["fidelity"].get(condition, {}))
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True), MARKERS[view], color=COLOURS[view], markersize=5, label=NAMES[view]
                )
        axes.set_title(titles[name])
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    panels[-1].set_xticks(range(len(conditions)), [_tick(c) for c in conditions])
    panels[0].legend(loc="lower left", bbox_to_anchor=(0.3, 1.0), ncols=4, borderaxespad=0)
    drawn.supylabel("accuracy on the chip minus float, points", fontsize=9.5)
    return drawn


def _tick(condition: str) -> str:
    if condition.startswith(LEFT_OUT):
        return "new\nspeaker" + condition.removeprefix(LEFT_OUT).replace("_", "\n")
    return condition.replace("missing_", "without\n")


def fronts(points: Mapping[str, Sequence[tuple[str, float, float]]], label: str) -> Figure:
    """Accuracy in the hard conditions over a cost: a mark a chip, by provenance; the line joins what none beats.

    `points`: by provenance, (chip, cost, accuracy) of each. Provenances are never joined.
    """
    drawn, axes = figure(4.6, 3.2)
    for k, (provenance, found) in enumerate(points.items()):
        best, front = -1.0, []
        for i, (name, cost, accuracy) in enumerate(sorted(found, key=lambda one: (one[1], -one[2]))):
            away, side = ((-6, -13), "right") if i % 2 else ((6, 6), "left")  # names of neighbours that are equal
            place = cost, 100 * accuracy
            axes.annotate(name, place, xytext=away, textcoords="offset points", ha=side, fontsize=8.5)
            if accuracy > best:
                best = accuracy
                front.append((cost, 100 * accuracy))
        colour = CHIP_COLOURS[k % len(CHIP_COLOURS)]
        axes.plot(*zip(*front, strict=True), "-", linewidth=1.2, color=colour, alpha=0.6)
        axes.plot([c for _, c, _ in found], [100 * a for _, _, a in found], "o", color=colour, label=provenance)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, hard conditions (%)")
    axes.margins(x=0.25, y=0.25)
    axes.set_ylim(max(axes.get_ylim()[0], 0), min(axes.get_ylim()[1], 101))
    axes.grid(axis="y")
    axes.legend(loc="lower right")
    return drawn


def board(chips: Sequence[tuple[int, int]], used: Mapping[tuple[int, int], int], cores: int) -> Figure:
    """A SpiNNaker board seen from above: its chips as hexagons, a shade and a number for the cores in use."""
    drawn, axes = figure(4.6, 4.2)
    height = 3**0.5 / 2
    for x, y in chips:
        share = used.get((x, y), 0) / cores
        place = (x - y / 2, y * height)
        axes.add_patch(
            RegularPolygon(
                place,
                6,
                radius=0.56,
                facecolor=CELL if share else "none",
                edgecolor=LINE,
                alpha=1 if not share else 0.25 + 0.75 * share,
            )
        )
        text = str(used.get((x, y), ""))
        axes.annotate(text, place, ha="center", va="center", fontsize=8, color=ON_CELL if share > 0.4 else MUTED)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.axis("off")
    return drawn


def rates(chips: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> Figure | None:
    """1 - cosine between the firing rates of a layer's neurons on the chip and in the float network, by condition."""
    found = {
        name: [
            (c, layer, 1 - value)
            for c, views in chip["fidelity"].items()
            for one in views.values()
            for layer, value in one["rate_cosine"].items()
        ]
        for name, chip in chips.items()
    }
    found = {name: points for name, points in found.items() if points}
    if not found:
        return None
    drawn, axes = figure(4.6, 3.2)
    layers = sorted({layer for points in found.values() for _, layer, _ in points}, key=list(COLOURS).index)
    for k, (name, points) in enumerate(found.items()):
        for x, layer in enumerate(layers):
            values = np.maximum([v for _, one, v in points if one == layer], 1e-9)
            axes.plot(
                np.full(len(values), x + 0.22 * (k - (len(found) - 1) / 2)),
                values,
                "o",
                color=CHIP_COLOURS[k],
                markersize=4,
                alpha=0.6,
                label=titles[name] if x == 0 else None,
            )
    axes.set_yscale("log")
    axes.set_xticks(range(len(layers)), [NAMES[layer] for layer in layers])
    axes.set_ylabel("1 - cosine of firing rates")
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=2, borderaxespad=0)
    return drawn
