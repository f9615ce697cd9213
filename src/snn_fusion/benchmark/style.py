"""How the project's pictures look: one palette, told apart by the colour-blind, on light and dark pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1f2328", "#68707a", "#e3e6ea", "#ffffff"
# Okabe and Ito's palette (2008), https://jfly.uni-koeln.de/color/
COLOURS = {"audio": "#0072b2", "events": "#d55e00", "imu": "#009e73", "fused": "#1f2329", "joint": "#8250a0"}
NAMES = {"audio": "audio", "events": "events", "imu": "IMU", "fused": "fused", "joint": "joint"}
LONG_NAMES = {"audio": "audio alone", "events": "events alone", "imu": "IMU alone", "fused": "all senses fused"}
MARKERS = {"audio": "o", "events": "s", "imu": "^", "fused": "D"}
CELL, ON_CELL = "#0072b3", "#fefefe"  # confusion matrix: its colour and the text on it

# The same names in report.css, where the dark page has values of its own.
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    CELL: "cell",
    ON_CELL: "on-cell",
    **{colour: name for name, colour in COLOURS.items()},
}

_RC: Any = {
    "axes.prop_cycle": cycler(color=["#0072b2", "#d55e00", "#009e73", "#8250a0", "#e69f00", "#68707a"]),
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "snn-fusion",  # the same picture gives the same bytes
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def house_style() -> Iterator[None]:
    with rc_context(_RC):
        yield


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """One panel of `width` x `height` inches. Draw on it, and save it, inside `house_style`."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    axes = drawn.add_subplot()
    axes.set_axisbelow(True)
    return drawn, axes


def png(drawn: Figure, dpi: int = 160) -> bytes:
    """The picture on white, for a README or a log of artefacts."""
    file = io.BytesIO()
    with house_style():
        drawn.savefig(file, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return file.getvalue()


def svg(drawn: Figure, name: str, title: str) -> str:
    """The picture as an inline <svg> element in the page's own colours and font; `name` makes its ids unique."""
    file = io.StringIO()
    with house_style():
        drawn.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font: bold ([\d.]+)px [^;\"]*", r"font-weight: 600; font-size: \1px", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    # a viewBox without width and height fills the column it is in
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
