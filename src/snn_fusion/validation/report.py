"""validation.html: one page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from snn_fusion.config import ImuChannel
from snn_fusion.data.recording import Sense
from snn_fusion.validation.assess import Assessment
from snn_fusion.validation.charts import Quantity, Values, histogram, label_bars
from snn_fusion.validation.checks import Outcome
from snn_fusion.validation.drift import Drift
from snn_fusion.validation.plausible_report import NAMES, plausible_section, table

STYLE = Path(__file__).with_name("report.css")
MOST_ROWS = 200  # of the quarantine, on the page; quarantine.csv has all
DRIFTED, SAME = "<span class='warned'>△ drifted</span>", "<span class='good'>✓ same</span>"

USED = Quantity("used_share", "share inside the network's window")
QUANTITIES: dict[Sense, list[Quantity]] = {
    "audio": [
        Quantity("duration_s", "duration (s)"),
        Quantity("rms", "level, rms (full scale 1)", log=True),
        Quantity("peak", "peak level (full scale 1)", log=True),
        USED,
    ],
    "events": [
        Quantity("duration_s", "duration (s)"),
        Quantity("rate_hz", "event rate (events a second)"),
        Quantity("busiest_pixel_share", "share of the busiest pixel"),
        USED,
    ],
    "imu": [Quantity("duration_s", "duration (s)"), Quantity("gap_s", "longest gap (s)"), USED],
}


def html_report(found: Assessment, channels: Sequence[ImuChannel]) -> str:
    """The whole page. Every text that comes from recordings or their names is escaped."""
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    parts = [
        _header(found),
        _notes("The run was stopped", found.problems, "stop"),
        _notes("Worth a look", found.warnings, ""),
        _tiles(found),
        *(_sense(found, sense, channels) for sense in found.measurements),
        _data_set(found),
        plausible_section(found.label_tests, found.offsets),
        _drift(found.drifts),
        _quarantine(found),
    ]
    return (
        f"<!doctype html><html lang='en'><head>{head}<title>Validation - SNN-Fusion</title>"
        f"<style>{STYLE.read_text()}</style></head><body>{''.join(parts)}"
        f"<footer>The same results for machines: <code>validation.json</code>, <code>quarantine.csv</code>. "
        f"Limits: <code>params.yaml</code>, section <code>validation</code>.</footer></body></html>\n"
    )


def _header(found: Assessment) -> str:
    broken = sum(not outcome.success for outcome in found.outcomes)
    state = "<span class='bad'>stopped</span>" if found.problems else "<span class='good'>passed</span>"
    text = f"{len(found.outcomes)} expectations, {broken or 'none'} of them broken by some recording or label."
    return f"<header><h1>Validation: {state}</h1><p class='quiet'>{text}</p></header>"


def _notes(title: str, lines: Sequence[str], kind: str) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<div class='note {kind}'><strong>{title}</strong><ul>{items}</ul></div>"


def _tile(title: str, number: str, small: str, accent: str = "") -> str:
    style = f" style='--accent: var(--{accent})'" if accent else ""
    return f"<dl class='tile'{style}><dt>{title}</dt><dd>{number} <small>{small}</small></dd></dl>"


def _tiles(found: Assessment) -> str:
    tiles = [
        _tile(NAMES[sense], f"{of['train'] + of['test']:,}", f"{of['train']:,} training, {of['test']:,} test", sense)
        for sense, of in found.recordings.items()
    ]
    tiles.append(
        _tile("Set aside", f"{len(found.quarantined):,}", "bad recordings", "bad" if found.quarantined else "")
    )
    if found.joined:
        of = found.joined
        tiles.append(
            _tile("Joined by label", f"{sum(of.values()):,}", f"{of['train']:,} training, {of['test']:,} test")
        )
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _sense(found: Assessment, sense: Sense, channels: Sequence[ImuChannel]) -> str:
    quantities = list(QUANTITIES[sense])
    if sense == "imu":
        quantities += [Quantity(f"rms_{c.name}", f"{c.name}, rms ({c.unit})") for c in channels if c.unit != "1"]
    split = {
        name: [record for record in found.measurements[sense] if record["split"] == name] for name in ("train", "test")
    }
    charts = [histogram(q, _column(split["train"], q.column), _column(split["test"], q.column)) for q in quantities]
    labels = [
        (str(r["id"]).removeprefix("label ").strip("'"), {"train": int(r["train"] or 0), "test": int(r["test"] or 0)})
        for r in found.labels.get(sense, ())
    ]
    key = "<span class='key fill'></span>training <span class='key line'></span>test (shares of each split)"
    return (
        f"<section style='--accent: var(--{sense})'><h2 class='sense'>{NAMES[sense]}</h2>"
        f"<p class='quiet'>All recordings looked at, before any is set aside. {key}</p>"
        f"<div class='charts'>{''.join(charts)}{label_bars(labels)}</div>"
        f"{_expectations(o for o in found.outcomes if o.suite == sense)}</section>"
    )


def _column(records: Sequence[Mapping[str, object]], column: str) -> Values:
    values = [record.get(column) for record in records]
    return np.array([v if isinstance(v, int | float) else np.nan for v in values], np.float64)


def _data_set(found: Assessment) -> str:
    rest = [o for o in found.outcomes if o.suite not in found.measurements]
    return f"<section><h2>Data set</h2>{_expectations(rest, with_suite=True)}</section>"


def _expectations(outcomes: Iterable[Outcome], with_suite: bool = False) -> str:
    rows = []
    for o in outcomes:
        state = "<span class='good'>✓ all</span>" if o.success else f"<span class='bad'>✗ {len(o.failed):,} not</span>"
        short = " class='number'" if len(o.observed) <= 24 else ""
        suite = f"<td>{escape(o.suite)}</td>" if with_suite else ""
        rows.append(
            f"<tr>{suite}<td>{escape(o.check.says)}</td><td>{escape(o.check.allowed)}</td>"
            f"<td{short}>{escape(o.observed)}</td><td class='number'>{o.rows:,}</td><td>{state}</td>"
            f"<td class='number'><code>{escape(o.expectation)}</code></td></tr>"
        )
    first = ["of"] if with_suite else []
    return table([*first, "check", "allowed", "observed", "checked", "", "expectation"], rows)


def _drift(drifts: Sequence[Drift]) -> str:
    if not drifts:
        return ""
    rows = [
        f"<tr><td>{NAMES[d.sense]}</td><td>{escape(d.measurement)}</td><td>{d.compared} against {d.reference}</td>"
        f"<td class='number'>{d.psi:.3f}</td><td class='number'>{d.limit:.3f}</td>"
        f"<td>{DRIFTED if d.drifted else SAME}</td></tr>"
        for d in drifts
    ]
    about = (
        "Population stability index over the deciles of the reference; 0 is the same distribution. Allowed is "
        "<code>validation.max_drift</code>, or more where so few recordings are compared that chance alone gives more."
    )
    shown = table(["sense", "measurement", "compared", "index", "allowed", ""], rows)
    return f"<section><h2>Drift</h2><p class='quiet'>{about}</p>{shown}</section>"


def _quarantine(found: Assessment) -> str:
    bad = found.quarantined
    if not bad:
        return "<section><h2>Set aside</h2><p>No recording was set aside.</p></section>"
    rows = [
        f"<tr><td>{escape(one.id) or '<span class=quiet>(at import)</span>'}</td><td>{escape(one.sense)}</td>"
        f"<td><code>{escape(one.file)}</code></td><td>{'<br>'.join(escape(r) for r in one.reasons)}</td></tr>"
        for one in bad[:MOST_ROWS]
    ]
    more = (
        f"<p class='quiet'>The first {MOST_ROWS} of {len(bad):,}; all: quarantine.csv.</p>"
        if len(bad) > MOST_ROWS
        else ""
    )
    return f"<section><h2>Set aside</h2>{table(['recording', 'sense', 'file', 'why'], rows)}{more}</section>"
