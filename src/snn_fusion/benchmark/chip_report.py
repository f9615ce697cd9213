"""The report's page of chips: what each loses, needs and does, put into the evaluation's own page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from snn_fusion.benchmark import chip_figures as figures
from snn_fusion.benchmark.chip_table import accuracy, find, left_out
from snn_fusion.benchmark.conditions import CHIP_CONDITIONS, LEFT_OUT, VIEWS
from snn_fusion.benchmark.pictures import Picture, save_figures
from snn_fusion.benchmark.report import CHIPS_HERE, figure_html, table_html
from snn_fusion.benchmark.style import NAMES, house_style
from snn_fusion.targets.names import TITLES
from snn_fusion.targets.spinnaker.profile import placed
from snn_fusion.workspace import write_atomic

BOARDS = {5: "SpiNN-5", 201: "SpiNNaker 2, one chip", 248: "SpiNNaker 2, 48 chips"}
Chips = Mapping[str, Mapping[str, Any]]


def report_with_chips(content: Mapping[str, Any], evaluated: Path, out: Path) -> None:
    """Write out/report.html, the page at `evaluated` with the section of chips, and out/figures/chips_*.png."""
    chips = {name: chip for name, chip in content["targets"].items() if chip["state"] == "measured"}
    pictures = draw(chips, content["max_drop"]) if chips else {}
    section = render(content, chips, pictures)
    write_atomic(out / "report.html", evaluated.read_text().replace(CHIPS_HERE, section))
    save_figures(pictures, out / "figures")


def draw(chips: Chips, max_drop: float) -> dict[str, Picture]:
    with house_style():
        found = {
            "chips_drops": Picture(
                figures.drops(chips, TITLES, max_drop),
                "Accuracy lost on each chip, by condition",
                "Chip minus float network on the same recordings. Dashed: what may be lost.",
                wide=True,
            )
        }
        for metric, label in (
            ("operations", "synaptic operations a recording"),
            ("energy", "energy a recording (J)"),
        ):
            points = _points(chips, metric)
            if points:
                title = f"Accuracy in the hard conditions over {label}"
                caption = "A line joins what no other beats, within one provenance. Lower cost is left."
                found[f"chips_{metric.split()[0]}"] = Picture(figures.fronts(points, label), title, caption)
        if drawn := figures.rates(chips, TITLES):
            title = "Distance of each layer's firing rates from the float network's, by condition"
            found["chips_rates"] = Picture(
                drawn,
                title,
                "One mark a condition and view; 1e-9 stands for none. Akida runs other layers: not comparable.",
            )
        board = chips.get("spinnaker", {}).get("compiled", {}).get("mapping", {}).get("5")
        if board:
            found["chips_board"] = _board(board)
        return found


def _board(board: Mapping[str, Any]) -> Picture:
    places = sorted({(one["x"], one["y"]) for one in board["placements"]})
    used: dict[tuple[int, int], int] = {}
    for one in board["placements"]:
        if one["neurons"] is not None:
            used[one["x"], one["y"]] = used.get((one["x"], one["y"]), 0) + 1
    caption = (
        f"Cores with neurons or inputs on each of the {len(places)} chips; placed by sPyNNaker for a virtual board."
    )
    return Picture(figures.board(places, used, 17), "Placement on a SpiNN-5 board", caption)


def _points(chips: Chips, metric: str) -> dict[str, list[tuple[str, float, float]]]:
    """By provenance: chip, cost, accuracy in the hard conditions. Operations are ACs and, of graded neurons, MACs."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    names = ("effective ACs", "effective MACs") if metric == "operations" else (metric,)
    for name, chip in chips.items():
        parts = [one for one in (find(chip, part) for part in names) if one and one["value"]]
        if parts:
            kind = parts[0]["provenance"].replace("_", " ")
            hard = accuracy(chip, chip["measured_on"])[1]
            found.setdefault(kind, []).append((TITLES[name], sum(one["value"] for one in parts), hard))
    return found


def render(content: Mapping[str, Any], chips: Chips, pictures: Mapping[str, Picture]) -> str:
    """The section as HTML."""
    drawn = {name: figure_html(name, picture) for name, picture in pictures.items()}
    wide = drawn.pop("chips_drops", "")
    return f"""<section id="chips">
<h2>On each chip</h2>
{_verdict(content)}
{"".join(f"<p><b>{escape(line)}.</b></p>" for line in left_out(content))}
{wide}
{_fidelity(chips)}
{_by_speaker(chips)}
<div class="grid">{"".join(drawn.values())}</div>
<h3>What was measured, and how</h3>
{_measurements(chips)}
{_boards(chips)}
<p class="quiet">Akida's licence: its figures are for your own use, not for publication.</p>
{_conformance(content)}
</section>
"""


def _verdict(content: Mapping[str, Any]) -> str:
    verdict, most = content["verdict"], 100 * content["max_drop"]
    rule = f"on every chip and in every condition at most {most:g} points are lost (one recording, of fewer than 200)"
    judged = [TITLES[name] for name, chip in content["targets"].items() if chip["state"] != "unavailable"]
    if not judged:
        return "<p>No chip was measured: no SDK is installed.</p>"
    if not verdict["problems"]:
        return f"<p>Fidelity gate passed by {', '.join(judged)}: {rule}.</p>"
    lines = [
        f"<li><b>{escape(TITLES[name])}</b>: {escape(why)}"
        + (f"<br>waived: {escape(verdict['waived'][name])}" if name in verdict["waived"] else "")
        + "</li>"
        for name, why in verdict["problems"].items()
    ]
    state = (
        "passed, with what params.yaml waives" if verdict["passed"] else "not passed: this network is not registered"
    )
    return f"<p>Fidelity gate {state}. It wants that {rule}.</p><ul>{''.join(lines)}</ul>"


def _fidelity(chips: Chips) -> str:
    lines = []
    for condition in (c for c in CHIP_CONDITIONS if any(c.name in chip["fidelity"] for chip in chips.values())):
        for view in VIEWS:
            cells = [chip["fidelity"].get(condition.name, {}).get(view) for chip in chips.values()]
            one = next((cell for cell in cells if cell), None)
            if one:
                row = [
                    f"{escape(condition.title)}, {NAMES[view]}",
                    f"{100 * one['float']:.1f} %<small>n={one['n']:,}</small>",
                ]
                lines.append(row + [_cell(cell) for cell in cells])
    head = ["condition", "float", *(TITLES[name] for name in chips)]
    return f"<details><summary>The same as numbers</summary>{table_html(head, lines)}</details>" if lines else ""


def _by_speaker(chips: Chips) -> str:
    """Accuracy of each network that never heard a speaker, on that speaker."""
    found = {
        name: chip["fidelity"].get(LEFT_OUT, {}).get("audio", {}).get("by_speaker") for name, chip in chips.items()
    }
    found = {name: speakers for name, speakers in found.items() if speakers}
    if not found:
        return ""
    lines = []
    for speaker, one in next(iter(found.values())).items():
        chip = [f"{100 * speakers[speaker]['chip']:.1f} %" for speakers in found.values()]
        lines.append([escape(speaker), f"{100 * one['float']:.1f} %<small>n={one['n']:,}</small>", *chip])
    table = table_html(["speaker left out", "float", *(TITLES[name] for name in found)], lines)
    return f"<details><summary>By speaker: networks that never heard them</summary>{table}</details>"


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    mark = "" if one["passed"] else " ✗"
    return f"{100 * one['chip']:.1f} %{mark}<small>{100 * one['agreement']:.1f} % the same</small>"


def _measurements(chips: Chips) -> str:
    metrics = dict.fromkeys(
        m["metric"] for chip in chips.values() for m in chip["measurements"] if not m["metric"].startswith("accuracy.")
    )
    lines = []
    for metric in metrics:
        cells = [find(chip, metric) for chip in chips.values()]
        unit = next((cell["unit"] for cell in cells if cell), "")
        name = f"{escape(metric)}{f' ({escape(unit)})' if unit not in ('', '1') else ''}"
        lines.append([name, *(_number(cell) for cell in cells)])
    return table_html(["", *(TITLES[name] for name in chips)], lines)


def _boards(chips: Chips) -> str:
    """Where sPyNNaker puts the network, on each board that it was mapped for."""
    boards = chips.get("spinnaker", {}).get("compiled", {}).get("mapping", {})
    lines = []
    for board in boards.values():
        found = {one.metric: one.value for one in placed(board)}
        cells = [
            f"{found['chips']} of {board['chips']}",
            f"{found['cores']} of {board['cores']:,}",
            f"{found['memory']:,}",
            f"{found['routing entries']:,}",
        ]
        kind = board["provenance"].replace("_", " ")
        lines.append([BOARDS.get(board["version"], str(board["version"])), *cells, kind])
    if not lines:
        return ""
    head = ["SpiNNaker board", "chips", "cores", "SDRAM (B)", "routing entries", ""]
    return f"<h3>Mapped by sPyNNaker</h3>{table_html(head, lines)}"


def _number(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    value = "unavailable" if one["value"] is None else _digits(one["value"])
    kind = "" if one["value"] is None else f"<small>{one['provenance'].replace('_', ' ')}</small>"
    return f'<span title="{escape(one["source"], quote=True)}">{value}{kind}</span>'


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.4g}"


def _conformance(content: Mapping[str, Any]) -> str:
    lines = []
    for name, chip in content["targets"].items():
        said = f"{escape(chip['state'])}: {escape(chip['why'])}" if chip["state"] != "measured" else _compared(chip)
        lines.append(f'<tr><th scope="row">{TITLES[name]}</th><td>{said}</td></tr>')
    table = f'<div class="scroll"><table class="facts"><tbody>{"".join(lines)}</tbody></table></div>'
    return f"<p>Each simulator beside the vendor's own tool, on the same recordings:</p>{table}"


def _compared(chip: Mapping[str, Any]) -> str:
    found = chip["compiled"]["conformance"]
    words = f", {found['words']:,} of {found['words_compared']:,} words" if found["words_compared"] else ""
    wrong = f"{found['spikes']:,} spikes and {found['potentials']:,} potentials of {found['compared']:,} values differ"
    whole = f"{found['recordings']} recordings through {escape(found['tool'])}"
    ours = chip["compiled"]["reference"]
    float_too = f"{ours['differ']:,} of {ours['spikes']:,} spikes are not those of the program in floating point"
    return f"{wrong}{words}; {whole}. {float_too}; {ours['recordings']} recordings."
