"""Which training recordings are kept from training, to decide when it stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from snn_fusion.config import Params
from snn_fusion.data.manifest import Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadInput

MOST_CLASSES = 30  # in a message


def held_out(rows: Sequence[Row], share: float, by_subject: Sequence[Sense], rng: np.random.Generator) -> set[str]:
    """Paths of the recordings that validation keeps from training.

    A share of each class, or of all subjects for the senses in `by_subject`; at least one, and never all.
    """
    held: set[str] = set()
    for sense in SENSES:
        having = {row.senses[sense].path: row for row in rows if sense in row.senses}
        groups: dict[str, dict[str, list[str]]] = {}
        for path, row in sorted(having.items()):
            subject = row.senses[sense].subject
            stratum, unit = ("", subject) if sense in by_subject and subject else (row.label, path)
            groups.setdefault(stratum, {}).setdefault(unit, []).append(path)
        for _, units in sorted(groups.items()):
            count = min(max(1, round(share * len(units))), len(units) - 1)
            for unit in rng.permutation(sorted(units))[:count]:
                held.update(units[unit])
    return held


def is_held(row: Row, held: set[str], senses: Sequence[Sense] = SENSES) -> bool:
    return any(ref.path in held for sense, ref in row.senses.items() if sense in senses)


def check_parts(rows: Sequence[Row], held: set[str], senses: Sequence[Sense], params: Params) -> None:
    """Raises BadInput if a class has no recording in one of the two parts: what each class has, and what helps.

    `senses` are those that the network has.
    """
    lacking = _lacking(rows, held, senses)
    if not lacking:
        return
    missing = "; ".join(
        f"no recording of class {', '.join(names)} is left for the {part} part" for part, names in lacking
    )
    raise BadInput(
        "params.yaml: data.validation_share",
        f"of the training split, {missing}\n" + "\n".join(_counts(rows, params)) + "\n",
        _remedy(rows, senses, sorted({name for _, names in lacking for name in names}), params),
    )


def _lacking(rows: Sequence[Row], held: set[str], senses: Sequence[Sense]) -> list[tuple[str, list[str]]]:
    """The classes that each part lacks. A held recording of a sense that the network has not is in neither."""
    classes = {row.label for row in rows}
    fit = {row.label for row in rows if not is_held(row, held)}
    validation = {row.label for row in rows if is_held(row, held, senses)}
    found = [("fit", sorted(classes - fit)), ("validation", sorted(classes - validation))]
    return [(name, names) for name, names in found if names]


def _counts(rows: Sequence[Row], params: Params) -> Iterator[str]:
    """A line a class: its recordings of each sense, and by how many subjects."""
    classes = sorted({row.label for row in rows})
    for label in classes[:MOST_CLASSES]:
        parts = []
        for sense in SENSES:
            subject = {row.senses[sense].path: row.senses[sense].subject for row in rows if _is(row, label, sense)}
            if subject:
                known = len(set(subject.values()) - {""})
                whole = ", kept whole" if known and sense in params.validation.disjoint_subjects else ""
                parts.append(f"{sense} {len(subject)} by {known or 'unknown'} subject{'s' * (known != 1)}{whole}")
        yield f"  class {label}: {'; '.join(parts)}"
    if len(classes) > MOST_CLASSES:
        yield f"  and {len(classes) - MOST_CLASSES} more classes"


def _is(row: Row, label: str, sense: Sense) -> bool:
    return row.label == label and sense in row.senses


def _remedy(rows: Sequence[Row], senses: Sequence[Sense], lacking: Sequence[str], params: Params) -> str:
    """A setting that was tried and leaves every class in both parts; else which recordings are needed."""
    share, by_subject = params.data.validation_share, params.validation.disjoint_subjects

    def helps(share: float, by_subject: Sequence[Sense]) -> bool:
        return not _lacking(rows, held_out(rows, share, by_subject, first_generator(params)), senses)

    shares = sorted((k / 100 for k in range(1, 50)), key=lambda one: abs(one - share))
    if better := next((one for one in shares if helps(one, by_subject)), None):
        return f"set data.validation_share: {better:g}"
    for sense in by_subject:
        others = [one for one in by_subject if one != sense]
        if helps(share, others):
            return (
                f"import recordings of class {', '.join(lacking)} by more subjects, or, if the same subjects may be in "
                f"both parts, set validation.disjoint_subjects: [{', '.join(others)}]"
            )
    return f"import more recordings of class {', '.join(lacking)}, by more subjects"


def first_generator(params: Params) -> np.random.Generator:
    """What draws the parts: the same for the same seed."""
    return np.random.default_rng([params.seed, 0])
