"""A benchmark's results: a table in the terminal, and a section of a page between its two markers."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"


def show(head: list[str], rows: list[list[str]]) -> None:
    table = Table(*head, box=None)
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)


def replace(page: Path, begin: str, end: str, text: str, title: str = "") -> None:
    """Replace the section, or append it where there is none; a new page begins with `title`."""
    content = page.read_text() if page.exists() else title
    if begin not in content:
        content = f"{content.rstrip()}\n\n{begin}{end}\n"
    before, _, rest = content.partition(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
