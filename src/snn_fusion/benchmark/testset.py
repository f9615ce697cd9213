"""Which recordings are tested alone and which together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from snn_fusion.data.dataset import join_by_label
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadInput

# One recording of one sense, by its path.
Key = tuple[Sense, str]


def check_labels(rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Raises BadInput listing every row whose label the network does not know."""
    unknown = [row for row in rows if row.label not in classes]
    if unknown:
        shown = [
            f"  {row.id} ({', '.join(r.path for r in row.senses.values())}): {row.label!r}" for row in unknown[:20]
        ]
        more = [f"  and {len(unknown) - 20} more"] if len(unknown) > 20 else []
        raise BadInput(
            f"{len(unknown)} recordings: label",
            "unknown to the network\n" + "\n".join(shown + more) + "\n",
            f"it knows: {', '.join(classes)}",
        )


def only_senses(rows: Sequence[Row], senses: Sequence[Sense]) -> list[Row]:
    """Rows with what the network can sense, ordered by id. Raises BadInput if nothing is left to test."""
    kept = [replace(row, senses={s: row.senses[s] for s in senses if row.has(s)}) for row in rows]
    kept = sorted((row for row in kept if row.senses), key=lambda row: row.id)
    if not kept:
        remedy = f"give recordings of {', '.join(senses)}"
        raise BadInput("test recordings", "there are none that the network can sense", remedy)
    return kept


def fused_rows(rows: Sequence[Row], seed: int) -> list[Row]:
    """The recordings that are answered with all senses at once, no file in two of them.

    First those that have several senses, then joins by label of the single-sense recordings that are left. A join has
    every sense that the data have, so that a fused accuracy is of one kind of row. Since no recording is used twice
    the rows are independent, as a Wilson interval wants them.
    """
    used: set[Key] = set()
    several = [row for row in rows if len(row.senses) > 1]
    fused = [row for row in several if _claim(row, used)]
    free = [replace(r, split="test") for r in rows if len(r.senses) == 1 and used.isdisjoint(keys(r))]
    senses = {sense for row in rows for sense in row.senses}
    return fused + [row for row in join_by_label(free, seed, reuse=False) if set(row.senses) == senses]


def _claim(row: Row, used: set[Key]) -> bool:
    """Whether the row's files are all still free; they no longer are."""
    mine = set(keys(row))
    free = used.isdisjoint(mine)
    if free:
        used |= mine
    return free


def keys(row: Row) -> list[Key]:
    return [(sense, ref.path) for sense, ref in row.senses.items()]


def single_rows(rows: Sequence[Row]) -> dict[Key, Row]:
    """Every distinct recording of a single sense as a row of its own, under the id it has (or its row has)."""
    found: dict[Key, Row] = {}
    for row in sorted(rows, key=lambda row: len(row.senses)):  # its own id is better than a join's
        for sense, ref in row.senses.items():
            found.setdefault((sense, ref.path), replace(row, senses={sense: ref}))
    return found


def batches(fused: Sequence[Row], singles: Mapping[Key, Row], size: int) -> list[list[Row]]:
    """Rows in batches of at most `size` that share their senses; each recording is in exactly one of them."""
    in_fused = {key for row in fused for key in keys(row)}
    alone = [row for key, row in singles.items() if key not in in_fused]
    groups: dict[tuple[Sense, ...], list[Row]] = {}
    for row in [*fused, *alone]:
        groups.setdefault(tuple(s for s in SENSES if row.has(s)), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[0]), group[0]))
    return [group[i : i + size] for _, group in ordered for i in range(0, len(group), size)]
