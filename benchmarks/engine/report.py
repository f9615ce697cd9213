"""All that a run of the benchmark found, and its tables: one set of cells for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.compare import RELATIVE, Comparison
from engine.driver import LOOP, MODULE, OURS, THREADS
from engine.extras import WANTED_MEMORY, WANTED_SCALING, Line
from engine.machine import BUSY
from engine.workloads import DENSITY

EPOCH_WANTED = 8.0
ROUNDING = (
    " A spike whose potential is within rounding of its threshold falls either way, by the order of the sums; one of "
    "the batch's half a million is enough for that difference."
)
YES, NO = "✓", "✗"
SHORT = {
    "train-700": "train 700-256-20",
    "train-recurrent": "same, recurrent",
    "train-588": "train 588-128-10",
    "infer-1": "infer 1 sample",
    "infer-64": "infer batch 64",
}


@dataclass
class Report:
    machine: str
    versions: list[str]
    rounds: int
    rates: dict[str, float]
    differs: dict[str, str]
    comparisons: list[Comparison] = field(default_factory=list)
    scaling: dict[str, float] | None = None
    memory: dict[str, dict[str, float]] | None = None
    cost: dict[str, Line] | None = None
    epoch: dict[str, Any] | None = None
    others: float = 0.0

    @property
    def variants(self) -> list[str]:
        """All that ran or failed, ours first."""
        found = dict.fromkeys(v for c in self.comparisons for v in (*c.agreement, *c.ms, *c.failed))
        return sorted(found, key=lambda v: v not in (OURS, MODULE))


@dataclass(frozen=True)
class Goal:
    """A ratio that is wanted, and what was measured; smaller is better where `at_most`."""

    what: str
    reached: float
    wanted: float
    detail: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


def number(ms: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 1 else f"{ms:.3f}"


def times(report: Report) -> tuple[list[str], list[list[str]]]:
    """Head and rows: milliseconds of each variant (rows) on each workload, `*` where its results are not equal."""
    head = ["ms", *(SHORT.get(c.work.name, c.work.name) for c in report.comparisons)]
    return head, [[variant, *(_cell(c, variant) for c in report.comparisons)] for variant in report.variants]


def _cell(comparison: Comparison, variant: str) -> str:
    if variant not in comparison.ms:
        return "failed" if variant in comparison.failed else ""
    found = comparison.agreement.get(variant)
    return number(comparison.median(variant)) + ("" if found is None or found.equal else " *")


def goals(report: Report) -> list[Goal]:
    """Every ratio of the issue that this run measured."""
    found = []
    for c in report.comparisons:
        if OURS not in c.ms:
            continue
        if LOOP in c.ms:
            found.append(Goal(c.work.title, c.ratio(LOOP), c.work.over_loop, "snnTorch's loop"))
        if c.fastest:
            found.append(Goal(c.work.title, c.ratio(c.fastest), c.work.over_best, f"fastest peer run: {c.fastest}"))
    if e := report.epoch:
        detail = (
            f"snnTorch's loop; {e['batches'] * e['ours'] / 1e3:.1f} s against {e['batches'] * e['twin'] / 1e3:.1f} s, "
            f"from {e['measured']} of {e['batches']} batches; {e['ratio_prepared']:.1f}x with dense tensors ready"
        )
        found.append(Goal("one epoch of the default pipeline network", e["ratio"], EPOCH_WANTED, detail))
    if s := report.scaling:
        detail = f"ours, {number(s['one'])} ms and {number(s['two'])} ms"
        found.append(Goal("training step from 1 to 2 threads", s["times"], WANTED_SCALING, detail))
    for name, mb in (report.memory or {}).items():
        detail = (
            f"of snnTorch's loop, {mb[OURS]:.0f} MB and {mb[LOOP]:.0f} MB; hoisted {mb['snnTorch, hoisted']:.0f} MB"
        )
        what = f"peak memory, {SHORT[name]}"
        found.append(Goal(what, mb[OURS] / mb[LOOP], WANTED_MEMORY, detail, at_most=True))
    return found


def goal_cells(goal: Goal) -> list[str]:
    sign = "" if goal.at_most else "x"
    reached = f"{goal.reached:.2g}" if goal.reached < 10 else f"{goal.reached:.0f}"
    wanted = f"{'≤ ' if goal.at_most else ''}{goal.wanted:g}"
    return [goal.what, goal.detail, reached + sign, wanted + sign, YES if goal.met else NO]


def notes(report: Report) -> list[str]:
    """What has to be known to read the numbers."""
    rates = ", ".join(f"{SHORT.get(name, name)} {100 * rate:.1f} %" for name, rate in report.rates.items())
    lines = [
        f"{report.machine}. {'; '.join(report.versions)}.",
        f"Every library on {THREADS} threads and as many cores, JAX by the cores alone; threads that wait sleep "
        "(OMP_WAIT_POLICY). Wall time, garbage collection off, median call of a turn, turns of all libraries "
        f"interleaved, median of {report.rounds} rounds; ratios are taken round by round.",
        f"Input spikes at {100 * DENSITY:g} % of channels and steps; hidden neurons spike in these shares of the "
        f"steps: {rates}. A training step is forward, cross-entropy and the gradients of all weights, without the "
        "optimiser. Dense tensors and events are there before the clock starts.",
    ]
    for variant in report.variants:
        found = [c.agreement[variant] for c in report.comparisons if variant in c.agreement]
        if not found or variant == LOOP:
            continue
        text = f"{variant}: against snnTorch's loop loss or potential within {max(a.value for a in found):.0e}"
        if any(c.work.training for c in report.comparisons if variant in c.agreement):
            text += (
                f", gradients cosine {min(a.cosine for a in found):.6f}, "
                f"within {max(a.relative for a in found):.0e} of the largest"
            )
        if not all(a.equal for a in found):
            text += f" (* {report.differs.get(variant, 'not equal')})"
        lines.append(f"{text}.")
    failed = [f"{v} on {c.work.name}: {why}" for c in report.comparisons for v, why in c.failed.items()]
    lines += [f"Failed: {text}" for text in failed]
    if report.epoch:
        a = report.epoch["agreement"]
        lines.append(
            f"Epoch: loss of the first batch within {a['value']:.0e}, gradients cosine {a['cosine']:.6f}, within "
            f"{a['relative']:.0e} of the largest; with Adam, and with making each batch's input in the clock."
            + (ROUNDING if a["relative"] >= RELATIVE else "")
        )
    if report.others > BUSY:
        lines.append(
            f"Other processes took {100 * report.others:.0f} % of the cores meanwhile: repeat this on a quiet machine."
        )
    return lines


def show(report: Report, console: Console) -> None:
    """The tables in the terminal."""
    head, rows = times(report)
    table = Table(*head, title="Milliseconds", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row, style="bold green" if row[0] == OURS else "")
    console.print(table)
    ratios = Table("workload", "against", "times", "wanted", "", title="Wanted and reached", title_justify="left")
    for goal in goals(report):
        ratios.add_row(*goal_cells(goal), style="" if goal.met else "red")
    console.print(ratios)
    for line in notes(report):
        console.print(f"  {line}", style="dim", highlight=False)
    for name, line in (report.cost or {}).items():
        console.print(f"  ms against {name}: {_fit(line)}", highlight=False)


def _fit(line: Line) -> str:
    slope, offset = line.fit
    return f"{offset:.2f} + {slope:.4g} a unit, R2 {line.r2:.4f}"


def markdown(head: list[str], rows: list[list[str]], right: Callable[[int], bool]) -> str:
    """A table; columns for which `right` holds are right-aligned."""
    rule = ["---:" if right(i) else "---" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
