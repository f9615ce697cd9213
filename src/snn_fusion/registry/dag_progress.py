"""A run of the DAG on the terminal: a live list of stages, or plain lines where nobody looks at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from snn_fusion.registry.dag_log import DagLog, StageRun

Show = Callable[[str | None], None]
MARKS = {
    "waiting": ("·", "dim"),
    "retrying": ("↻", "yellow"),
    "done": ("✓", "green"),
    "skipped": ("–", "yellow"),
    "failed": ("✗", "bold red"),
    "not run": ("–", "dim"),
}


@contextlib.contextmanager
def watching(log: DagLog, console: Console | None = None) -> Iterator[Show]:
    """Shows the run while the block lasts; call the result after every line that `log` was fed."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Plain(log, console)
        return
    with Live(_Stages(log), console=console, refresh_per_second=8):
        yield lambda printed: None


class _Stages:
    """The list of stages as it stands; Live asks for it again and again."""

    def __init__(self, log: DagLog) -> None:
        self.log, self.spinner = log, Spinner("dots", style="cyan")

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for stage in self.log.stages.values():
            table.add_row(self._mark(stage), stage.name, _seconds(stage), _last_line(stage))
        if all(stage.state == "waiting" for stage in self.log.stages.values()):
            table.add_row(self.spinner, "[dim]airflow", "", Text("starting", style="dim"))
        return table

    def _mark(self, stage: StageRun) -> RenderableType:
        if stage.state == "running":
            return self.spinner
        mark, style = MARKS[stage.state]
        return Text(mark, style=style)


class _Plain:
    """One line when a stage starts and ends, and between them what it prints."""

    def __init__(self, log: DagLog, console: Console) -> None:
        self.log, self.console = log, console
        self.states = {name: stage.state for name, stage in log.stages.items()}

    def __call__(self, printed: str | None) -> None:
        if printed:
            self._print(f"  {printed}")
        for name, stage in self.log.stages.items():
            if stage.state != self.states[name]:
                self.states[name] = stage.state
                took = "" if stage.state == "running" else _seconds(stage)
                state = "up to date" if stage.up_to_date else stage.state
                self._print(f"{name}: {state}" + (f", {took}" if took else ""))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _seconds(stage: StageRun) -> str:
    if stage.state in ("waiting", "not run"):
        return ""
    minutes, seconds = divmod(stage.elapsed, 60)
    return f"{minutes:.0f} min {seconds:2.0f} s" if minutes else f"{seconds:.1f} s"


def _last_line(stage: StageRun) -> Text:
    if stage.up_to_date:
        return Text("up to date", style="dim")
    if stage.state == "skipped":
        return Text(
            f"skipped: {stage.result.get('unavailable', 'its chip is not installed')}", style="dim", overflow="ellipsis"
        )
    if stage.state not in ("running", "retrying", "failed") or not stage.output:
        return Text("")
    return Text(stage.output[-1].strip(), style="dim", overflow="ellipsis", no_wrap=True)


def show_failure(stage: StageRun, log_file: Path, console: Console | None = None) -> None:
    """What the failed stage itself said, where nobody can miss it."""
    console = console or Console(stderr=True)
    said = Text("\n".join(list(stage.output)[-30:]) or "it printed nothing")
    how = f"exit {stage.exit_code}" if stage.exit_code is not None else "stopped by Airflow, e.g. at its time limit"
    console.print(Panel(said, title=f"{stage.name} failed ({how})", border_style="red", padding=(1, 2)))
    console.print(f"everything that was printed: {log_file}", markup=False, highlight=False, soft_wrap=True)
