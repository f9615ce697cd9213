"""Which recordings make the data set: sources, split, and single senses joined by label."""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from snn_fusion.config import Params
from snn_fusion.data.manifest import SPLITS, Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadInput

PUBLIC = ("fsdd", "nmnist", "pendigits")
SYNTHETIC = "synthetic"
JOINED = "joined"  # source of the rows that `join_by_label` makes


def stands_in(there: Collection[str], sources: Sequence[str]) -> bool:
    """Whether synthetic recordings stand in: public sources are wanted, and none of them could be had."""
    public = set(sources) & set(PUBLIC)
    return bool(public) and SYNTHETIC in there and not public & set(there)


def is_pattern(name: str) -> bool:
    """Whether an entry of `data.sources` stands for every imported source whose name matches it."""
    return any(mark in name for mark in "*?[")


def matching(there: Iterable[str], sources: Sequence[str]) -> list[str]:
    """The names among `there` that `data.sources` names, or that match one of its patterns; sorted.

    No pattern matches `synthetic`: what is made up takes part only where it is asked for.
    """
    patterns = [one for one in sources if is_pattern(one)]
    matched = {name for name in there for one in patterns if name != SYNTHETIC and fnmatchcase(name, one)}
    return sorted(matched | {name for name in there if name in sources})


def unmatched(there: Collection[str], sources: Sequence[str]) -> list[str]:
    """The patterns of `data.sources` that no imported source matches yet."""
    return [one for one in sources if is_pattern(one) and not matching(there, [one])]


def select_sources(rows: Sequence[Row], sources: Sequence[str]) -> list[Row]:
    """The rows of the sources that `data.sources` names, in the order of `rows`.

    A pattern may match none. Where no public source could be had, import leaves `synthetic` instead, and that stands
    in for them. Raises BadInput naming a source that is not there, or if there is none at all.
    """
    there = {row.source for row in rows}
    absent = set(PUBLIC) if stands_in(there, sources) else set()
    imported = f"imported: {', '.join(sorted(there)) or 'nothing'}"
    for name in sources:
        if not is_pattern(name) and name not in there | absent:
            how = "import" if name in PUBLIC else f"import --from DIR --name {name}"
            raise BadInput(
                "params.yaml: data.sources", f"{name!r} is not imported", f"run `snn-fusion {how}`; {imported}"
            )
    wanted = {*matching(there, sources), *({SYNTHETIC} if absent else ())}
    if not wanted:
        raise BadInput("params.yaml: data.sources", f"no imported source matches {', '.join(sources)}", imported)
    return [row for row in rows if row.source in wanted]


def apply_split(rows: Sequence[Row], split: str) -> list[Row]:
    """Rows with the split that `data.split` asks for.

    'official' keeps them. 'leave-out:SUBJECT' tests on every row with a sense of SUBJECT and trains on all other
    rows of the same source; other sources keep theirs. Raises BadInput if SUBJECT is unknown or a split is empty.
    """
    where = "params.yaml: data.split"
    rows = list(rows)
    if split != "official":
        subject = split.removeprefix("leave-out:")
        sources = {row.source for row in rows if subject in row.subjects}
        if not sources:
            known = sorted({s for row in rows for s in row.subjects})
            raise BadInput(where, f"no recording of subject {subject!r}", f"known: {', '.join(known) or 'none'}")
        rows = [
            replace(row, split="test" if subject in row.subjects else "train") if row.source in sources else row
            for row in rows
        ]
    for name in SPLITS:
        if not any(row.split == name for row in rows):
            raise BadInput(where, f"{split!r} leaves no {name} recordings", "import some, or choose another split")
    return rows


def at_most(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """At most so many rows of each source, split and label, picked at random; what remains keeps its order."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.source, row.split, row.label].append(row)
    kept = {
        row.id
        for key, group in groups.items()
        for row in (_pick(group, most, f"{seed}/{'/'.join(key)}/most") if len(group) > most else group)
    }
    return [row for row in rows if row.id in kept]


def in_use(rows: Sequence[Row], params: Params) -> list[Row]:
    """The rows that a run with these parameters works on, as far as `rows` tell before any recording is read.

    Those of its sources, as many as `data.most_per_class` takes, that have a sense of which the network has a branch.
    """
    sources = set(matching({row.source for row in rows}, params.data.sources))
    rows = [row for row in rows if row.source in sources]
    with contextlib.suppress(BadInput):  # what makes a split whole, the run's own import may still fetch
        rows = apply_split(rows, params.data.split)
    picked = at_most(rows, params.data.most_per_class, params.seed)
    return [row for row in picked if any(sense in params.network.branch for sense in row.senses)]


def join_by_label(rows: Sequence[Row], seed: int, reuse: bool) -> list[Row]:
    """Join recordings of single senses to recordings of all senses, at random within a split and a label.

    A joined row's id is `a+b+c` in the order audio, events, imu, its source `joined`; its senses keep their files
    and subjects. reuse=False uses no recording twice: a (split, label) gives as many rows as its rarest sense has.
    reuse=True uses every recording at least once: as many rows as its commonest sense has. Rows that have several
    senses already come first, as they are. The order of `rows` does not matter.
    """
    several = [row for row in rows if len(row.senses) > 1]
    single: dict[tuple[str, str], dict[Sense, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if len(row.senses) == 1:
            single[row.split, row.label][next(iter(row.senses))].append(row)
    senses = [s for s in SENSES if any(s in of for of in single.values())]
    joined = list(several)
    for (split, label), of in sorted(single.items()):
        counts = [len(of.get(sense, [])) for sense in senses]
        n = max(counts) if reuse else min(counts)
        if len(senses) < 2 or n == 0 or min(counts) == 0:
            continue
        picked = [_pick(of[sense], n, f"{seed}/{split}/{label}/{sense}") for sense in senses]
        joined += [_join(parts, split, label) for parts in zip(*picked, strict=True)]
    return joined


def _pick(rows: list[Row], n: int, seed: str) -> list[Row]:
    """n rows in random order: each equally often, give or take one."""
    rng, ordered = random.Random(seed), sorted(rows, key=lambda row: row.id)
    picked: list[Row] = []
    while len(picked) < n:
        picked += rng.sample(ordered, min(len(ordered), n - len(picked)))
    return picked


def _join(parts: Sequence[Row], split: str, label: str) -> Row:
    senses = {sense: ref for part in parts for sense, ref in part.senses.items()}
    return Row("+".join(part.id for part in parts), label, split, JOINED, senses)
