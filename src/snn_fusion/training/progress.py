"""How training shows itself: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from snn_fusion import log_lines


@contextmanager
def training_progress(epochs: int) -> Iterator[Callable[[int, float, dict[str, float]], None]]:
    """Yields the `report` that `fit` calls."""
    console = log_lines.console()
    started = time.monotonic()
    columns = (
        TextColumn("epoch {task.fields[epoch]:>2}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("train", total=epochs, epoch=1, numbers="")

        def report(epoch: int, share: float, numbers: dict[str, float]) -> None:
            bar.update(task, completed=epoch - 1 + share, epoch=epoch, numbers=_words(numbers))
            if "val_loss" in numbers:
                seconds = time.monotonic() - started
                console.print(
                    f"epoch {epoch}/{epochs}  {_words(numbers)}  [dim]{seconds:.0f} s[/]",
                    highlight=False,
                    soft_wrap=True,
                )

        yield report


def _words(numbers: dict[str, float]) -> str:
    rates = [f"{k.removeprefix('rate_')} {v:.2f}" for k, v in numbers.items() if k.startswith("rate_")]
    parts = [f"loss {numbers['loss']:.3f}", f"accuracy {numbers['accuracy']:.1%}"]
    if "val_loss" in numbers:
        fused = numbers.get("val_accuracy_fused")
        parts += [f"val loss {numbers['val_loss']:.3f}"] + ([f"val fused {fused:.1%}"] if fused is not None else [])
    return "  ".join([*parts, f"firing {' '.join(rates)}"])
