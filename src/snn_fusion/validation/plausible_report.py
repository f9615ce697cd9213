"""The report's section on labels and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from snn_fusion.validation.plausible import LabelTest, Offset

NAMES: dict[str, str] = {"audio": "Audio", "events": "Event camera", "imu": "IMU"}
FINE = "<span class='good'>✓</span>"


def plausible_section(tests: Sequence[LabelTest], offsets: Sequence[Offset]) -> str:
    """What a reference model makes of the labels, and how far apart senses set in; '' where neither was measured."""
    parts = [_labels(tests) if tests else "", _offsets(offsets) if offsets else ""]
    return f"<section><h2>Labels and clocks</h2>{''.join(parts)}</section>" if any(parts) else ""


def _labels(tests: Sequence[LabelTest]) -> str:
    about = (
        "A reference model (kernel ridge regression on plain features, not the network) learns the labels. Up to the "
        "accuracy in the last column but one they are in doubt."
    )
    rows = [
        f"<tr><td>{NAMES[t.sense]}</td><td>{escape(t.source)}</td><td>{escape(t.split)}</td><td>{escape(t.learnt)}</td>"
        f"<td class='number'>{t.n:,}</td><td class='number'>{t.accuracy:.1%}</td>"
        f"<td class='number'>{t.chance:.1%}</td><td class='number'>{t.limit:.1%}</td><td>{_state(t)}</td></tr>"
        for t in tests
    ]
    head = ["sense", "source", "split", "model", "recordings", "accuracy", "chance", "in doubt up to", ""]
    return f"<p class='quiet'>{about}</p>{table(head, rows)}"


def _state(test: LabelTest) -> str:
    if test.doubtful:
        return "<span class='warned'>△ no better than chance</span>"
    if test.exchanged:
        pairs = ", ".join(f"{escape(a)} for {escape(b)}" for a, b in test.exchanged)
        return f"<span class='warned'>△ exchanged? {pairs}</span>"
    return FINE


def _offsets(offsets: Sequence[Offset]) -> str:
    about = (
        "By how much one sense sets in after another, in recordings of both. Allowed is "
        "<code>validation.max_offset_s</code>, for the median of its size."
    )
    rows = [
        f"<tr><td>{escape(o.source)}</td><td>{NAMES[o.later]} after {NAMES[o.earlier]}</td>"
        f"<td class='number'>{o.n:,}</td><td class='number'>{o.median:.3f}</td><td class='number'>{o.spread:.3f}</td>"
        f"<td class='number'>{o.allowed:g}</td><td>{'<span class=warned>△ apart</span>' if o.apart else FINE}</td></tr>"
        for o in offsets
    ]
    head = ["source", "senses", "recordings", "median (s)", "quartiles apart (s)", "allowed (s)", ""]
    return f"<p class='quiet'>{about}</p>{table(head, rows)}"


def table(head: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls by itself where the page is narrow."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    return f"<div class='scroll'><table><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
