"""A benchmark's section of a page: what lies between its two markers."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"


def replace(page: Path, begin: str, end: str, text: str, title: str = "") -> None:
    """Replace the section, or append it where there is none; a new page begins with `title`."""
    before, found, rest = (page.read_text() if page.exists() else title).partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    page.write_text(f"{before if found else before.rstrip() + chr(10) * 2}{begin}\n{text}\n{end}{after}")
