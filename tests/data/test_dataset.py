"""Sources, splits and joining by label."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.data.dataset import apply_split, at_most, join_by_label, select_sources, unmatched
from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadInput


def row(id: str, sense: Sense = "audio", label: str = "1", split: str = "train", subject: str = "") -> Row:
    source = {"audio": "fsdd", "events": "nmnist", "imu": "pendigits"}[sense]
    return Row(id, label, split, source, {sense: Ref(f"{source}/{id}", id, subject)})


SINGLE = st.builds(
    lambda number, sense, label, split: row(f"{sense}{number}", sense, label, split, f"s{number % 3}"),
    st.integers(0, 10**6),
    st.sampled_from(SENSES),
    st.sampled_from("01"),
    st.sampled_from(["train", "test"]),
)
ROWS = st.lists(SINGLE, max_size=40, unique_by=lambda one: one.id)


@given(ROWS, st.integers(0, 3), st.booleans(), st.randoms())
def test_joined_rows_keep_label_split_files_and_subjects(
    rows: list[Row], seed: int, reuse: bool, random: object
) -> None:
    joined = join_by_label(rows, seed, reuse)
    known = {(sense, ref): one for one in rows for sense, ref in one.senses.items()}
    there = [sense for sense in SENSES if any(one.has(sense) for one in rows)]
    for one in joined:
        assert list(one.senses) == there
        parts = [known[item] for item in one.senses.items()]
        assert {(part.label, part.split) for part in parts} == {(one.label, one.split)}
        assert one.id == "+".join(part.id for part in parts)
    assert len({one.id for one in joined}) == len(joined)
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert join_by_label(rows, seed, reuse) == joined


@given(ROWS, st.integers(0, 3))
def test_how_many_rows_a_join_gives_and_how_often_it_uses_each(rows: list[Row], seed: int) -> None:
    there = {sense for one in rows for sense in one.senses}
    sizes: dict[tuple[str, str], Counter[str]] = {}
    for one in rows:
        sizes.setdefault((one.split, one.label), Counter()).update(list(one.senses))
    whole = [counts for counts in sizes.values() if len(there) > 1 and set(counts) == there]
    once, every = join_by_label(rows, seed, reuse=False), join_by_label(rows, seed, reuse=True)
    assert len(once) == sum(min(counts.values()) for counts in whole)
    assert len(every) == sum(max(counts.values()) for counts in whole)
    used = Counter(ref.path for one in once for ref in one.senses.values())
    assert all(count == 1 for count in used.values())
    reused = {ref.path for one in every for ref in one.senses.values()}
    for one in rows:
        if set(sizes[one.split, one.label]) == there and len(there) > 1:
            assert {ref.path for ref in one.senses.values()} <= reused


def test_another_seed_joins_differently() -> None:
    rows = [row(f"{sense}{n}", sense) for sense in SENSES for n in range(20)]
    assert join_by_label(rows, 0, False) != join_by_label(rows, 1, False)


def test_recordings_of_several_senses_are_passed_through() -> None:
    both = Row("both", "1", "train", "lab", {"audio": Ref("a", "", ""), "imu": Ref("b", "", "")})
    assert join_by_label([both, row("x")], 0, True) == [both]


@given(ROWS, st.integers(1, 5))
def test_at_most_so_many_of_each_source_split_and_label_are_kept_in_order(rows: list[Row], most: int) -> None:
    kept = at_most(rows, most, seed=0)
    groups, before = (Counter((r.source, r.split, r.label) for r in some) for some in (kept, rows))
    assert groups == {key: min(most, count) for key, count in before.items()}
    assert kept == [row for row in rows if row in kept] == at_most(rows, most, seed=0)


def test_official_keeps_the_split() -> None:
    rows = [row("a"), row("b", split="test")]
    assert apply_split(rows, "official") == rows


def test_leaving_a_subject_out_tests_on_it_alone_and_leaves_other_sources() -> None:
    rows = [
        row("a", subject="theo"),
        row("b", subject="ann", split="test"),
        row("c", "events"),
        row("d", "events", split="test"),
    ]
    split = {one.id: one.split for one in apply_split(rows, "leave-out:theo")}
    assert split == {"a": "test", "b": "train", "c": "train", "d": "test"}


def test_an_unknown_subject_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"data\.split: no recording of subject 'bob' \(known: ann, theo\)"):
        apply_split([row("a", subject="theo"), row("b", subject="ann")], "leave-out:bob")


@pytest.mark.parametrize(
    ("rows", "split", "name"),
    [
        ([row("a")], "official", "test"),
        ([row("a", split="test")], "official", "train"),
        ([row("a", subject="theo")], "leave-out:theo", "train"),
        ([], "official", "train"),
    ],
)
def test_an_empty_split_is_refused(rows: list[Row], split: str, name: str) -> None:
    with pytest.raises(BadInput, match=f"data.split: '{split}' leaves no {name} recordings"):
        apply_split(rows, split)


def test_only_the_chosen_sources_are_kept() -> None:
    rows = [row("a"), row("b", "events")]
    assert select_sources(rows, ["nmnist"]) == rows[1:]


@pytest.mark.parametrize(
    ("name", "remedy"), [("lab", "import --from DIR --name lab"), ("nmnist", "snn-fusion import`")]
)
def test_a_source_that_is_not_imported_is_named_with_the_command(name: str, remedy: str) -> None:
    with pytest.raises(BadInput, match=rf"data\.sources: '{name}' is not imported") as caught:
        select_sources([row("a")], ["fsdd", name])
    assert remedy in str(caught.value)


def test_synthetic_rows_stand_in_only_where_no_public_source_is_there() -> None:
    made = Row("s", "1", "train", "synthetic", {"audio": Ref("s", "", "")})
    assert select_sources([made], ["fsdd", "nmnist"]) == [made]
    assert select_sources([made, row("a")], ["fsdd"]) == [row("a")]
    with pytest.raises(BadInput, match="'nmnist' is not imported"):
        select_sources([made, row("a")], ["fsdd", "nmnist"])


def of_source(source: str, n: int = 1) -> Row:
    return Row(f"{source}/{n}", "1", "train", source, {"audio": Ref(f"{source}/{n}.wav", "", "")})


def test_a_pattern_takes_every_imported_source_that_matches_also_later_ones() -> None:
    rows = [of_source(name) for name in ("fsdd", "lab-1", "lab-2", "label", "synthetic")]
    assert [row.source for row in select_sources(rows, ["fsdd", "lab-*"])] == ["fsdd", "lab-1", "lab-2"]
    assert [row.source for row in select_sources(rows, ["lab-[2-9]"])] == ["lab-2"]
    assert unmatched([row.source for row in rows], ["fsdd", "lab-*", "field-*"]) == ["field-*"]


def test_a_pattern_never_takes_what_is_made_up() -> None:
    rows = [of_source(name) for name in ("fsdd", "synthetic")]
    assert [row.source for row in select_sources(rows, ["*"])] == ["fsdd"]
    assert [row.source for row in select_sources(rows, ["*", "synthetic"])] == ["fsdd", "synthetic"]


def test_a_pattern_may_match_nothing_yet_but_not_all_of_them() -> None:
    assert [row.source for row in select_sources([of_source("fsdd")], ["fsdd", "lab-*"])] == ["fsdd"]
    with pytest.raises(BadInput, match=r"no imported source matches lab-\*, x\? \(imported: fsdd\)"):
        select_sources([of_source("fsdd")], ["lab-*", "x?"])
