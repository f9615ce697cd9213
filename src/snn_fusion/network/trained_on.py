"""Which recordings a network was trained on, by content: a list beside its graph, named by digest in graph.json."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import Sense
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import Graph
from snn_fusion.workspace import file_digest, write_atomic

FILE = "trained_on.txt"
KEY = "recordings"  # of graph.json's section `training`: SHA-256 of the list


def write_trained_on(folder: Path, rows: Iterable[Row], senses: Collection[Sense]) -> str:
    """List the SHA-256 of every recording of these senses, a line each, sorted; the list's own SHA-256.

    The list belongs into the graph's folder, and its SHA-256 into graph.json, by which the graph's seal covers it.
    """
    contents = sorted({ref.sha256 for row in rows for s, ref in row.senses.items() if s in senses and ref.sha256})
    write_atomic(folder / FILE, "".join(f"{one}\n" for one in contents))
    return file_digest(folder / FILE)


def trained_on(folder: Path, graph: Graph) -> frozenset[str] | None:
    """SHA-256 of every recording that the graph in `folder` was fitted to or stopped by; None if that is not known.

    It is not known of networks that were trained before the list was kept, and of a graph without its list. Raises
    BadInput if the list is not the one that was written.
    """
    said, path = graph.meta["training"].get(KEY), folder / FILE
    if said is None or not path.is_file():
        return None
    if file_digest(path) != said:
        raise BadInput(path, "is not the list that this network was trained on", "restore the graph's folder")
    return frozenset(path.read_text().split())


def was_trained_on(row: Row, contents: frozenset[str]) -> bool:
    """Whether any sense of the recording was."""
    return any(ref.sha256 in contents for ref in row.senses.values())
