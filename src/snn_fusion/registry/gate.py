"""Whether a challenger takes the champion's place, from both networks' answers to the same recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snn_fusion.benchmark.conditions import CONDITIONS, HARD_CONDITIONS, View
from snn_fusion.benchmark.statistics import mcnemar
from snn_fusion.data.recording import SENSES

if TYPE_CHECKING:
    import pyarrow as pa

# condition -> recording -> whether it was answered rightly
Answers = Mapping[str, Mapping[str, bool]]
ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdict:
    """The decision, why, and the numbers that it rests on (plain JSON values)."""

    promoted: bool
    reason: str
    numbers: dict[str, Any]


def answers(table: pa.Table) -> dict[View, dict[str, dict[str, bool]]]:
    """predictions.parquet by view (`fused` or a sense), condition and recording."""
    found: dict[View, dict[str, dict[str, bool]]] = {}
    columns = [table[name].to_pylist() for name in ("condition", "sense", "id", "label", "prediction")]
    for condition, view, name, label, prediction in zip(*columns, strict=True):
        found.setdefault(view, {}).setdefault(condition, {})[name] = label == prediction
    return found


def common_view(champion: Mapping[View, Answers], challenger: Mapping[View, Answers]) -> View | None:
    """What is compared: the fused answers, or those of the only sense that there is."""
    if "fused" in champion and "fused" in challenger:
        return "fused"
    senses = [sense for sense in SENSES if sense in champion and sense in challenger]
    return senses[0] if len(senses) == 1 else None


def judge(champion: Answers, challenger: Answers, significance: float, max_drop: float) -> Verdict:
    """Compare two networks recording by recording.

    The challenger must be better by exact McNemar over the pooled answers of the hard conditions (two-sided
    p < `significance`), and its accuracy in no condition may be lower by more than `max_drop`.
    """
    accuracy: dict[str, dict[str, float]] = {}
    only_champion = only_challenger = 0
    for condition in (c.name for c in CONDITIONS if c.name in champion and c.name in challenger):
        old, new = champion[condition], challenger[condition]
        both = old.keys() & new.keys()
        if both:
            right = {"champion": sum(old[i] for i in both), "challenger": sum(new[i] for i in both)}
            accuracy[condition] = {who: count / len(both) for who, count in right.items()} | {"n": len(both)}
            if condition in HARD_CONDITIONS:
                only_champion += sum(old[i] and not new[i] for i in both)
                only_challenger += sum(new[i] and not old[i] for i in both)
    p = mcnemar(only_champion, only_challenger)
    numbers = {"only_champion": only_champion, "only_challenger": only_challenger, "p": p, "accuracy": accuracy}
    if not accuracy:
        return Verdict(False, "no recording was answered by both networks", numbers)
    counts = f"{only_challenger} answers that only it gets right against {only_champion}, McNemar p = {p:.2g}"
    if only_challenger <= only_champion or p >= significance:
        wanted = f"wanted: more, and p < {significance:g}"
        return Verdict(False, f"not better on the hard conditions: {counts} ({wanted})", numbers)
    if worse := _worse(accuracy, max_drop):
        return Verdict(False, f"better on the hard conditions ({counts}), but worse {worse}", numbers)
    kept = f"no condition loses more than {100 * max_drop:g} points"
    return Verdict(True, f"better on the hard conditions: {counts}; {kept}", numbers)


def _worse(accuracy: Mapping[str, Mapping[str, float]], max_drop: float) -> str:
    found = [
        f"in {condition}: {100 * one['challenger']:.1f} % instead of {100 * one['champion']:.1f} %"
        for condition, one in accuracy.items()
        if one["champion"] - one["challenger"] > max_drop + ROUNDING
    ]
    return f"{', '.join(found)} (at most {100 * max_drop:g} points may be lost)" if found else ""
