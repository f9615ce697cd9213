"""What people see on the terminal; all of it on standard error, so that standard output stays for results."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import progress as bars
from rich.console import RenderableType

from snn_fusion import log_lines

if TYPE_CHECKING:
    from snn_fusion.network.graph import Graph


class Progress:
    """Called with recordings done and in all: a bar on a terminal, else a line every quarter."""

    def __init__(self, what: str = "evaluate") -> None:
        self.what = what
        self.console = log_lines.console()
        columns = (bars.TextColumn(what), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeElapsedColumn())
        self.bar = bars.Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task(what, total=None)
        self.quarters = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
        quarters = 4 * done // total
        if not self.console.is_terminal and quarters > self.quarters:
            self.console.print(f"{self.what}: {done} of {total} recordings", highlight=False)
        self.quarters = quarters


def say(what: RenderableType) -> None:
    log_lines.console().print(what, highlight=False)


def warn_of_encoder(graph: Graph) -> None:
    """Encoders that changed since a network was trained may give it spikes that it does not know."""
    from snn_fusion.encoding.encoder import encoder_version  # takes a second, which a stage with nothing to do saves

    if graph.meta["encoder"]["version"] != encoder_version():
        text = "the encoders' code has changed since this network was trained: its accuracy may suffer"
        log_lines.console().print(text, style="yellow", highlight=False)
