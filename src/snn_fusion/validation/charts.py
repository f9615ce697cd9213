"""Small inline SVG pictures for the validation report: no scripts, no fonts, no files beside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

WIDTH, HEIGHT, TOP, BOTTOM = 280, 132, 8, 22
BINS = 28


@dataclass(frozen=True)
class Quantity:
    """A measurement worth a picture: its column, its name in words and the scale that suits it."""

    column: str
    title: str
    log: bool = False


def histogram(quantity: Quantity, train: Values, test: Values) -> str:
    """Shares of the recordings of both splits (each (n,)) over the quantity: training filled, test as a line.

    The outermost half percent on either side is counted into the first and last bar.
    """
    train, test = (v[np.isfinite(v) & ((v > 0) | (not quantity.log))] for v in (train, test))
    both = np.concatenate([train, test])
    if not len(both):
        return ""
    low, high = (float(v) for v in np.quantile(both, [0.005, 0.995]))
    if low == high:
        low, high = low * 0.9 - 1e-9, high * 1.1 + 1e-9
    edges = np.geomspace(low, high, BINS + 1) if quantity.log else np.linspace(low, high, BINS + 1)
    shares = [np.histogram(v.clip(edges[0], edges[-1]), edges)[0] / max(len(v), 1) for v in (train, test)]
    scale = (HEIGHT - TOP - BOTTOM) / max(max(s.max() for s in shares), 1e-9)
    base, wide = HEIGHT - BOTTOM, WIDTH / BINS
    bars = "".join(
        f'<rect class="train" x="{k * wide + 0.5:.1f}" y="{base - s * scale:.1f}" width="{wide - 1:.1f}" '
        f'height="{s * scale:.1f}"/>'
        for k, s in enumerate(shares[0])
        if s
    )
    steps = [f"M0 {base}"] + [f"V{base - s * scale:.1f}H{(k + 1) * wide:.1f}" for k, s in enumerate(shares[1])]
    line = f'<path class="test" d="{"".join(steps)}V{base}"/>' if len(test) else ""
    ticks = "".join(
        f'<text x="{at * WIDTH:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{_tick(edges[round(at * BINS)])}</text>'
        for at, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    title = escape(quantity.title)
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}, training and test">{bars}{line}<path class="axis" d="M0 {base}H{WIDTH}"/>{ticks}</svg>'
        f"</figure>"
    )


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def label_bars(counts: Sequence[tuple[str, Mapping[str, int]]]) -> str:
    """Recordings of each label, training above test, one column a label."""
    largest = max((sum(of.values()) for _, of in counts), default=0)
    if not largest:
        return ""
    base, scale = HEIGHT - BOTTOM, (HEIGHT - TOP - BOTTOM) / largest
    wide = WIDTH / len(counts)
    parts = []
    for k, (label, of) in enumerate(counts):
        x, width = k * wide + 0.1 * wide, 0.8 * wide
        test, train = of["test"] * scale, of["train"] * scale
        parts.append(
            f"<g><title>{escape(label)}: {of['train']} training, {of['test']} test</title>"
            f'<rect class="test-bar" x="{x:.1f}" y="{base - test:.1f}" width="{width:.1f}" height="{test:.1f}"/>'
            f'<rect class="train" x="{x:.1f}" y="{base - test - train:.1f}" width="{width:.1f}" height="{train:.1f}"/>'
            f"</g>"
        )
        if wide >= 12:  # else there is no room for names; they are in the tooltips
            short = label if len(label) * 7 <= wide else label[: max(1, int(wide // 7) - 1)] + "…"
            parts.append(f'<text x="{x + width / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(short)}</text>')
    return (
        f'<figure class="chart"><figcaption>recordings of each label</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="recordings of each label">{"".join(parts)}<path class="axis" d="M0 {base}H{WIDTH}"/>'
        f"</svg></figure>"
    )
