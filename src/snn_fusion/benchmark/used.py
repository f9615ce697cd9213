"""How much of the recordings of a test the network saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_fusion.benchmark.console import say
from snn_fusion.data.dataset import JOINED
from snn_fusion.data.manifest import Row, load_together
from snn_fusion.data.recording import Sense
from snn_fusion.network.graph import Graph
from snn_fusion.validation.used import WHAT, Record, measure_used, used_notes, used_summary


def used_of(graph: Graph, rows: Sequence[Row], root: Path) -> dict[str, dict[str, Any]]:
    """For each sense, as `validation.used.used_summary`, of the recordings without noise; says where it is too little.

    What was joined by label is measured as it was recorded.
    """
    records: dict[Sense, list[Record]] = {}
    for row in (row for row in rows if row.source != JOINED):
        refs = {sense: row.senses[sense] for sense in graph.network.senses if row.has(sense)}
        signals = load_together(root, refs)
        for sense in refs:
            found = measure_used(signals, sense, graph.encoding)
            records.setdefault(sense, []).append({"source": row.source, **found})
    for note in used_notes(records, graph.encoding):
        say(f"warning: {note}")
    return used_summary(records)


def in_words(used: dict[str, dict[str, Any]]) -> list[str]:
    """A line a sense, for the report."""
    lines = []
    for sense, one in used.items():
        share = "nothing" if one["mean_share"] is None else f"{one['mean_share']:.1%}"
        onsets = ", ".join(f"{kind}: {count:,}" for kind, count in one["onset"].items())
        few = one["lose_more_than_a_tenth"]
        what = WHAT[sense]  # type: ignore[index]
        lines.append(f"{sense}: {share} of the {what}; {few:,} recordings lose more than a tenth; onset {onsets}")
    return lines
