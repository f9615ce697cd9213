"""The recordings of a test that the network was trained on apart from the others: memory is not skill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from snn_fusion.benchmark.accuracy_table import table
from snn_fusion.benchmark.document import document
from snn_fusion.benchmark.evaluate import Evaluation
from snn_fusion.benchmark.testset import check_labels
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES
from snn_fusion.network.graph import Graph
from snn_fusion.network.trained_on import was_trained_on

UNSEEN, SEEN, UNKNOWN = "unseen", "seen", "unknown"
Evaluate = Callable[[Sequence[Row]], Evaluation]


def measured_apart(
    evaluate: Evaluate, rows: Sequence[Row], contents: frozenset[str] | None, graph: Graph, words: tuple[str, str, int]
) -> dict[str, Any]:
    """The content of evaluation.json, of the recordings that the network was not trained on, if there are any.

    `contents` are the SHA-256 of what it was trained on, None if that is not known; `words` what `document` wants. The
    key `trained_on` says which recordings it was trained on, and how often it was right on them. Raises BadInput for
    labels that the network does not know, before any work.
    """
    check_labels(rows, graph.classes)
    seen = [row for row in rows if contents is not None and was_trained_on(row, contents)]
    known = {row.id for row in seen}
    unseen = [row for row in rows if row.id not in known]
    content = document(evaluate(unseen or seen), graph, *words)
    of = UNKNOWN if contents is None else UNSEEN if unseen else SEEN
    content["trained_on"] = {
        "accuracy_is_of": of,
        "recordings": {s: len({r.senses[s].path for r in seen if r.has(s)}) for s in SENSES if _any(rows, s)},
        "ids": sorted(known),
        "accuracy": {},
    }
    if of == UNSEEN and seen:
        content["trained_on"]["accuracy"] = evaluate(seen).accuracy
    elif of == SEEN:
        content["trained_on"]["accuracy"] = content["accuracy"]
    return content


def shown(content: Mapping[str, Any]) -> Group | None:
    """For the terminal: what the network was trained on, and its accuracy there; None if all is new to it."""
    said = content["trained_on"]
    if said["accuracy_is_of"] == UNKNOWN:
        text = "which recordings this network was trained on is not on record: some of these may be among them"
        return Group(Text(text, style="yellow"))
    if not said["ids"]:
        return None
    counts = ", ".join(f"{n} {sense}" for sense, n in said["recordings"].items() if n)
    n = len(said["ids"])
    if said["accuracy_is_of"] == SEEN:
        text = f"the network was trained on all {n} recordings ({counts}): the table says how well it remembers them"
        return Group(Text(text, style="yellow"))
    text = (
        f"the network was trained on {n} of the recordings ({counts}): they are not in the table above; of them alone:"
    )
    return Group(Text(text, style="yellow"), table(said))


def _any(rows: Sequence[Row], sense: str) -> bool:
    return any(sense in row.senses for row in rows)
