"""The gate: who is better, by how much, and what may be lost."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.benchmark.conditions import CONDITIONS
from snn_fusion.registry.gate import answers, common_view, judge, judge_first

N = 400
NAMES = [c.name for c in CONDITIONS]


def network(wrong: dict[str, range] | None = None) -> dict[str, dict[str, bool]]:
    """Answers to 400 recordings in every condition, all right but those of `wrong`."""
    return {name: {f"r{k}": k not in (wrong or {}).get(name, ()) for k in range(N)} for name in NAMES}


def test_better_on_the_hard_conditions_is_promoted_with_the_numbers() -> None:
    verdict = judge(network({"n3": range(30)}), network({"n3": range(10)}), 0.05, 0.01)
    assert verdict.promoted
    assert (verdict.numbers["only_challenger"], verdict.numbers["only_champion"]) == (20, 0)
    assert verdict.numbers["accuracy"]["n3"] == {"champion": 0.925, "challenger": 0.975, "n": N}
    assert "20 answers that only it gets right against 0" in verdict.reason


def test_the_same_answers_are_refused() -> None:
    verdict = judge(network({"n3": range(30)}), network({"n3": range(30)}), 0.05, 0.01)
    assert not verdict.promoted and "not better on the hard conditions: 0 answers" in verdict.reason


def test_a_difference_that_chance_explains_is_refused() -> None:
    verdict = judge(network({"n3": range(12)}), network({"n3": range(12, 18)}), 0.05, 0.01)
    assert not verdict.promoted and "12 answers that only it gets right against 6, McNemar p = 0.24" in verdict.reason


def test_significantly_worse_is_refused() -> None:
    assert not judge(network(), network({"n3": range(30)}), 0.05, 1.0).promoted


def test_better_on_clean_recordings_only_is_refused() -> None:
    assert not judge(network({"clean": range(50)}), network(), 0.05, 0.01).promoted


def test_a_loss_in_one_condition_is_refused_naming_it() -> None:
    old = network({"n3": range(60)})
    assert judge(old, network({"missing_imu": range(4)}), 0.05, 0.01).promoted  # 1 point is allowed
    verdict = judge(old, network({"missing_imu": range(5)}), 0.05, 0.01)
    assert not verdict.promoted
    assert "worse in missing_imu: 98.8 % instead of 100.0 % (at most 1 points may be lost)" in verdict.reason


def test_a_loss_on_clean_recordings_counts_too() -> None:
    verdict = judge(network({"n3": range(60)}), network({"clean": range(5)}), 0.05, 0.01)
    assert not verdict.promoted and "worse in clean" in verdict.reason


def test_only_recordings_that_both_answered_are_compared() -> None:
    old, new = network({"n3": range(30)}), network()
    new = {name: {k: v for k, v in of.items() if int(k[1:]) < 10} for name, of in new.items()}
    assert judge(old, new, 0.05, 0.01).numbers["only_challenger"] == 10
    assert judge(old, {}, 0.05, 0.01).reason == "no recording was answered by both networks"


@given(st.sets(st.integers(0, N - 1)), st.sets(st.integers(0, N - 1)))
def test_never_both_ways(first: set[int], second: set[int]) -> None:
    old = network({"n1": first})  # type: ignore[dict-item]
    new = network({"n1": second})  # type: ignore[dict-item]
    assert not (judge(old, new, 0.05, 1.0).promoted and judge(new, old, 0.05, 1.0).promoted)


def test_predictions_are_read_by_view_condition_and_recording() -> None:
    rows = [("n1", "fused", "a", "3", "3"), ("n1", "fused", "b", "3", "4"), ("n1", "imu", "a", "3", "3")]
    table = pa.table(
        {
            name: list(c)
            for name, c in zip(
                ("condition", "sense", "id", "label", "prediction"), zip(*rows, strict=True), strict=True
            )
        }
    )
    found = answers(table)
    assert found == {"fused": {"n1": {"a": True, "b": False}}, "imu": {"n1": {"a": True}}}
    assert common_view(found, found) == "fused"
    assert common_view(found, {"imu": found["imu"]}) == "imu"
    assert common_view(found, {}) is None


def test_where_no_challenger_could_pass_the_refusal_says_what_it_would_take() -> None:
    verdict = judge(network({"n3": range(5)}), network(), 0.05, 0.01)  # the best that there can be
    assert not verdict.promoted and verdict.numbers["only_challenger"] == 5
    assert f"no challenger could pass: the champion errs on 5 of {verdict.numbers['room']['answers']} answers" in (
        verdict.reason
    )
    assert "it takes 6 (about 480 test recordings instead of 400, or harder ones" in verdict.reason
    assert judge(network({"n3": range(6)}), network(), 0.05, 0.01).promoted


def test_a_champion_without_an_error_leaves_no_room_and_one_with_enough_does() -> None:
    none = judge(network(), network(), 0.05, 0.01)
    assert none.numbers["room"]["recordings_needed"] is None
    assert "it takes 6 (more than the 400 test recordings of today" in none.reason
    assert "could pass" not in judge(network({"n3": range(6)}), network({"n3": range(6)}), 0.05, 0.01).reason
    assert "it takes 11" in judge(network(), network(), 0.001, 0.01).reason


def table(right: int, n: int = 100, labels: int = 10) -> pa.Table:
    names = [str(k % labels) for k in range(n)]
    given = [name if k < right else "x" for k, name in enumerate(names)]
    return pa.table(
        {
            "condition": ["clean"] * n,
            "sense": ["fused"] * n,
            "id": [f"r{k}" for k in range(n)],
            "label": names,
            "prediction": given,
        }
    )


def test_the_floor_of_a_first_champion_is_a_share_of_the_way_from_chance_by_the_intervals_lower_end() -> None:
    assert judge_first(table(65), 0.5, 0.0, False).promoted  # 65 %: at least 55.3 %
    verdict = judge_first(table(64), 0.5, 0.0, False)  # at least 54.2 %, of 55 %
    assert not verdict.promoted and verdict.numbers["floor"] == 0.55
    assert judge_first(table(10), 0.0, 0.0, False).promoted  # 0: no floor


def test_chance_is_the_share_of_the_commonest_label() -> None:
    verdict = judge_first(table(100, labels=1), 0.5, 0.0, False)
    assert not verdict.promoted and verdict.numbers["chance"] == 1.0
    assert judge_first(table(90, labels=2), 0.5, 0.0, False).numbers["floor"] == 0.75


def test_a_first_champion_must_be_better_than_the_baseline_where_one_is_given() -> None:
    verdict = judge_first(table(95), 0.5, 0.9, False)  # at least 88.8 %
    assert not verdict.promoted and "not better than the baseline" in verdict.reason
    assert judge_first(table(97), 0.5, 0.9, False).promoted


def test_without_clean_answers_nobody_becomes_first_champion() -> None:
    assert not judge_first(table(0, n=0), 0.0, 0.0, False).promoted
