"""Folders laid out as the public sets are: all of them, some, or parts."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from snn_fusion.data.folder import read_folder
from snn_fusion.data.manifest import load
from snn_fusion.errors import BadInput
from tests.data.small_files import segment, write_bin, write_mirror, write_wav


def test_the_mirror_s_layout_gives_all_three_sets(tmp_path: Path) -> None:
    rows, errors = read_folder(write_mirror(tmp_path))
    assert errors == []
    by_id = {row.id: row for row in rows}
    assert len(by_id) == len(rows) == 16 + 6 + 6
    spoken = by_id["fsdd/0_ann_1"]
    assert (spoken.label, spoken.split, spoken.source, spoken.subjects) == ("0", "test", "fsdd", ("ann",))
    assert by_id["fsdd/0_ann_7"].split == "train"
    seen = by_id["nmnist/Train/1/00002"]
    assert (seen.label, seen.split, seen.senses["events"].subject) == ("1", "train", "")
    assert seen.senses["events"].path == "nmnist/Train/1/00002.bin"
    assert by_id["pendigits/tra-0003"].label == "1"
    for row in rows:
        for sense, ref in row.senses.items():
            assert load(tmp_path, ref, sense).duration_us > 0


def test_writers_of_the_two_pendigits_files_are_different_people(tmp_path: Path) -> None:
    rows, _ = read_folder(write_mirror(tmp_path))
    assert {row.subjects for row in rows if row.source == "pendigits"} == {("tra-w4",), ("tes-w4",)}


def test_the_checksum_of_a_member_is_of_its_own_bytes(tmp_path: Path) -> None:
    rows, _ = read_folder(write_mirror(tmp_path))
    (row,) = [row for row in rows if row.id == "pendigits/tes-0000"]
    assert row.senses["imu"].sha256 == hashlib.sha256(segment("0", writer=4).encode()).hexdigest()


@pytest.mark.parametrize(
    ("inner", "sources"),
    [
        ("fsdd", {"fsdd"}),
        ("fsdd/recordings", {"fsdd"}),
        ("nmnist", {"nmnist"}),
        ("pendigits", {"pendigits"}),
    ],
)
def test_the_folder_of_one_set_is_recognised(tmp_path: Path, inner: str, sources: set[str]) -> None:
    write_mirror(tmp_path)
    rows, errors = read_folder(tmp_path / inner)
    assert {row.source for row in rows} == sources and errors == []
    for row in rows:
        for sense, ref in row.senses.items():
            load(tmp_path / inner, ref, sense)


def test_parts_of_sets_are_enough(tmp_path: Path) -> None:
    write_mirror(tmp_path)
    shutil.rmtree(tmp_path / "fsdd")
    shutil.rmtree(tmp_path / "nmnist" / "Train")
    (tmp_path / "pendigits" / "pendigits-orig.tra").unlink()
    rows, errors = read_folder(tmp_path)
    assert {(row.source, row.split) for row in rows} == {("nmnist", "test"), ("pendigits", "test")}
    assert errors == []


def test_unknown_labels_are_errors_that_name_the_file(tmp_path: Path) -> None:
    write_mirror(tmp_path)
    write_wav(tmp_path / "fsdd" / "recordings" / "eleven_ann_0.wav")
    write_bin(tmp_path / "nmnist" / "Train" / "x" / "00009.bin")
    path = tmp_path / "pendigits" / "pendigits-orig.tra"
    path.write_text(path.read_text() + segment("A"))
    _, errors = read_folder(tmp_path)
    assert [str(error).removeprefix(f"{tmp_path}/") for error in errors] == [
        "fsdd/recordings/eleven_ann_0.wav: unknown label: the name is not {digit}_{speaker}_{n}.wav",
        "nmnist/Train/x/00009.bin: unknown label: the folder is 'x', not a digit",
        "pendigits/pendigits-orig.tra#0004: unknown label 'A'",
    ]


def test_what_macos_and_hidden_files_leave_behind_is_passed_over(tmp_path: Path) -> None:
    write_mirror(tmp_path)
    before, _ = read_folder(tmp_path)
    for junk in ("fsdd/recordings/._0_ann_0.wav", "nmnist/Test/__MACOSX/a.bin", "nmnist/Train/1/._00001.bin"):
        (tmp_path / junk).parent.mkdir(exist_ok=True)
        (tmp_path / junk).write_bytes(b"\0\5\x16\7")
    assert read_folder(tmp_path) == (before, [])


def test_a_damaged_segment_leaves_its_neighbours_whole(tmp_path: Path) -> None:
    write_mirror(tmp_path)
    path = tmp_path / "pendigits" / "pendigits-orig.tra"
    path.write_text(path.read_text()[:-40])
    rows, (error,) = read_folder(tmp_path)
    assert sum(row.source == "pendigits" for row in rows) == 5
    assert "pendigits-orig.tra#0003: truncated" in str(error)


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: (p / "photos").mkdir(parents=True)])
def test_a_folder_without_recordings_says_what_is_expected(tmp_path: Path, make: object) -> None:
    make(tmp_path / "empty")  # type: ignore[operator]
    with pytest.raises(BadInput, match=r"no recordings in this folder \(expected recordings\.csv, class folders"):
        read_folder(tmp_path / "empty")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        read_folder(tmp_path / "nowhere")


def test_the_real_mirror_is_read_without_damage(mirror: Path) -> None:
    rows, errors = read_folder(mirror)
    assert errors == []
    assert {row.label for row in rows} == set("0123456789")
    assert {(row.source, row.split) for row in rows} >= {("fsdd", "train"), ("fsdd", "test")}
