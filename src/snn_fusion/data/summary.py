"""What an import brought in: labels in each split, and what readers found unusual, in few lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from snn_fusion.data.manifest import Row

MOST_KINDS = 10


def splits_of(rows: Sequence[Row], sources: Collection[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Recordings of each source, label and split."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        if row.source in sources:
            of_label = counts.setdefault(row.source, {}).setdefault(row.label, {"train": 0, "test": 0})
            of_label[row.split] += 1
    return counts


def remarks_of(rows: Sequence[Row], sources: Collection[str]) -> list[str]:
    """A line for each kind of remark on recordings of these sources."""
    return kinds_of_remarks(
        (ref.path, ref.remarks) for row in rows if row.source in sources for ref in row.senses.values()
    )


def kinds_of_remarks(files: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """A line for each kind of remark on these files, with its first example: remarks of a kind differ in numbers."""
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, remarks in files:
        for remark in remarks:
            kinds[re.sub(r"'[^']*'|-?[\d.,]+", "#", remark)].append((path, remark))
    lines = [
        f"{path}: {remark}" if len(of) == 1 else f"{len(of)} files, e.g. {path}: {remark}"
        for of in sorted(kinds.values(), key=len, reverse=True)
        for path, remark in of[:1]
    ]
    more = len(lines) - MOST_KINDS
    return [*lines[:MOST_KINDS], f"and {more} other kinds"] if more > 0 else lines
