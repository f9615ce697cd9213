"""Whether a challenger takes the champion's place, from both networks' answers to the same recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Any

from snn_fusion.benchmark.conditions import CONDITIONS, HARD_CONDITIONS, View
from snn_fusion.benchmark.statistics import mcnemar, wilson
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
        room, numbers["room"] = _room(champion, challenger, significance)
        return Verdict(False, f"not better on the hard conditions: {counts} ({wanted}){room}", numbers)
    if worse := _worse(accuracy, max_drop):
        return Verdict(False, f"better on the hard conditions ({counts}), but worse {worse}", numbers)
    kept = f"no condition loses more than {100 * max_drop:g} points"
    return Verdict(True, f"better on the hard conditions: {counts}; {kept}", numbers)


def _room(champion: Answers, challenger: Answers, significance: float) -> tuple[str, dict[str, Any]]:
    """Whether any challenger could be better: one that errs nowhere gains as many answers as the champion errs on.

    Words, empty if it could, and numbers: the champion's errors in the hard conditions, how many it takes, and the test
    recordings that would have so many at its present rate of errors (None: it makes none).
    """
    names = [name for name in HARD_CONDITIONS if name in champion and name in challenger]
    shared = {name: champion[name].keys() & challenger[name].keys() for name in names}
    asked, recordings = sum(map(len, shared.values())), max(map(len, shared.values()), default=0)
    errors = sum(not champion[name][one] for name in names for one in shared[name])
    needed = next(n for n in count(1) if mcnemar(0, n) < significance)
    wanted = ceil(needed * recordings / errors) if errors else None
    numbers = {"champion_errors": errors, "answers": asked, "errors_needed": needed, "recordings_needed": wanted}
    if errors >= needed:
        return "", numbers
    words = f"; no challenger could pass: the champion errs on {errors} of {asked} answers, and it takes {needed}"
    if wanted:
        more = f"about {wanted} test recordings instead of {recordings}, or harder ones"
    else:
        more = f"more than the {recordings} test recordings of today, or harder ones"
    return f"{words} ({more}, would have so many)", numbers


def judge_first(table: pa.Table, above_chance: float, baseline: float, synthetic: bool) -> Verdict:
    """Whether a network may be the first champion: it has nothing to beat but an absolute floor.

    Of the clean answers in predictions.parquet (the fused ones, or those of the only sense), the lower end of the
    accuracy's 95 % interval must reach `above_chance` of the way from chance, which is the share of the commonest
    label, to 1 (0: no floor), and be above `baseline` (0: none).
    """
    views = answers(table)
    view = common_view(views, views)
    rows = [] if view is None else table.select(["condition", "sense", "label", "prediction"]).to_pylist()
    clean = [row for row in rows if row["condition"] == "clean" and row["sense"] == view]
    if not clean:
        return Verdict(False, "has no answers to clean recordings by which it could be the first champion", {})
    right = sum(row["label"] == row["prediction"] for row in clean)
    chance = Counter(row["label"] for row in clean).most_common(1)[0][1] / len(clean)
    low, floor = wilson(right, len(clean))[0], chance + above_chance * (1 - chance) if above_chance else 0.0
    numbers = {"accuracy": right / len(clean), "low": low, "n": len(clean), "chance": chance, "floor": floor}
    found = f"{100 * right / len(clean):.1f} % of {len(clean)} clean recordings, at least {100 * low:.1f} % with 95 %"
    if low < floor:
        reason = f"below the floor for a first champion: {found} confidence, and {100 * floor:.1f} % is wanted"
        reason += f" (chance is {100 * chance:.1f} %)"
    elif baseline and low <= baseline:
        reason = f"not better than the baseline: {found} confidence, and more than {100 * baseline:.1f} % is wanted"
    else:
        kind = "synthetic" if synthetic else "real"
        reason = (
            f"the first champion: there was none to compare with (trained on {kind} recordings; {found} confidence)"
        )
        return Verdict(True, reason, numbers | {"baseline": baseline})
    return Verdict(False, reason, numbers | {"baseline": baseline})


def _worse(accuracy: Mapping[str, Mapping[str, float]], max_drop: float) -> str:
    found = [
        f"in {condition}: {100 * one['challenger']:.1f} % instead of {100 * one['champion']:.1f} %"
        for condition, one in accuracy.items()
        if one["champion"] - one["challenger"] > max_drop + ROUNDING
    ]
    return f"{', '.join(found)} (at most {100 * max_drop:g} points may be lost)" if found else ""
