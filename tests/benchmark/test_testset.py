"""Which recordings are tested alone and which together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from snn_fusion.benchmark.testset import batches, check_labels, fused_rows, keys, only_senses, single_rows
from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.errors import BadInput


def row(label: str, split: str = "test", **files: str) -> Row:
    senses: dict[Sense, Ref] = {s: Ref(files[s], f"sha of {files[s]}", "") for s in SENSES if s in files}
    return Row("+".join(files.values()), label, split, "here", senses)


def singles(sense: Sense, counts: dict[str, int], split: str = "test") -> list[Row]:
    return [row(label, split, **{sense: f"{sense}{label}{i}"}) for label, n in counts.items() for i in range(n)]


def files_of(rows: Sequence[Row]) -> list[tuple[Sense, str]]:
    return [key for one in rows for key in keys(one)]


def test_single_senses_are_joined_within_their_label_with_no_file_twice() -> None:
    data = singles("audio", {"0": 5, "1": 2}) + singles("events", {"0": 3, "1": 4}) + singles("imu", {"0": 9, "1": 9})
    fused = fused_rows(data, seed=1)
    assert sorted(one.label for one in fused) == ["0"] * 3 + ["1"] * 2
    assert len(set(files_of(fused))) == len(files_of(fused))
    assert all(ref.path[len(sense)] == one.label for one in fused for sense, ref in one.senses.items())


def test_splits_do_not_keep_recordings_apart() -> None:
    data = singles("audio", {"0": 2}, "train") + singles("imu", {"0": 2}, "test")
    assert len(fused_rows(data, seed=0)) == 2


def test_joins_change_with_the_seed_and_not_with_the_order() -> None:
    data = singles("audio", {"0": 8}) + singles("imu", {"0": 8})
    assert fused_rows(data, 3) == fused_rows(only_senses(data[::-1], SENSES), 3)
    assert fused_rows(data, 3) != fused_rows(data, 4)


def test_rows_of_several_senses_are_taken_as_they_are_and_the_rest_is_joined() -> None:
    native = row("0", audio="a", events="b", imu="c")
    data = [native, *singles("audio", {"0": 2}), *singles("events", {"0": 2}), *singles("imu", {"0": 1})]
    fused = fused_rows(data, seed=0)
    assert fused[0] == native and [one.source for one in fused[1:]] == ["joined"]


def test_a_file_in_two_rows_is_fused_once_so_that_rows_are_independent() -> None:
    data = [row("0", audio="a", imu="1"), row("0", audio="a", imu="2"), row("0", audio="b", imu="3")]
    assert [one.id for one in fused_rows(data, seed=0)] == ["a+1", "b+3"]


def test_recordings_already_joined_are_not_joined_again() -> None:
    data = [row("0", audio="a", imu="i"), row("0", audio="a"), row("0", imu="i"), row("0", audio="b")]
    assert [one.id for one in fused_rows(data, seed=0)] == ["a+i"]


def test_left_over_pairs_do_not_mix_with_recordings_of_three_senses() -> None:
    data = [row("0", audio="a", events="e", imu="i"), *singles("audio", {"0": 3}), *singles("imu", {"0": 3})]
    assert [one.id for one in fused_rows(data, seed=0)] == ["a+e+i"]


def test_one_sense_alone_has_nothing_to_fuse() -> None:
    assert fused_rows(singles("audio", {"0": 4, "1": 4}), seed=0) == []


def test_each_recording_is_in_exactly_one_batch_of_rows_with_the_same_senses() -> None:
    data = [
        *(row("0", audio=f"a{i}", events=f"e{i}") for i in range(5)),
        *singles("audio", {"0": 7}),
        row("0", audio="a0"),
        row("0", audio="a1", imu="reuses a1"),
    ]
    fused, alone = fused_rows(data, 0), single_rows(data)
    made = batches(fused, alone, size=3)
    seen = files_of([one for batch in made for one in batch])
    assert sorted(seen) == sorted(alone) and len(set(seen)) == len(seen)
    assert all(len(batch) <= 3 and len({tuple(one.senses) for one in batch}) == 1 for batch in made)


def test_a_recording_keeps_the_id_of_its_own_row() -> None:
    found = single_rows([row("0", audio="a", imu="i"), row("0", audio="a")])
    assert {key: one.id for key, one in found.items()} == {("audio", "a"): "a", ("imu", "i"): "a+i"}


def test_unknown_labels_are_all_listed_with_row_file_and_the_known_classes() -> None:
    data = [row("0", audio="x.wav"), row("zero", audio="y.wav"), row("ten", imu="z.csv")]
    with pytest.raises(BadInput) as error:
        check_labels(data, ("0", "1"))
    for part in ("2 recordings", "y.wav", "'zero'", "z.csv", "'ten'", "it knows: 0, 1"):
        assert part in str(error.value)
    assert "x.wav" not in str(error.value)


def test_senses_that_the_network_lacks_are_left_out() -> None:
    data = [row("0", audio="a", imu="i"), row("0", imu="j")]
    assert [list(one.senses) for one in only_senses(data, ("audio",))] == [["audio"]]
    with pytest.raises(BadInput, match="none that the network can sense"):
        only_senses(data, ("events",))
