"""A folder of class sub-folders is a source: labels by folder, splits by folder or a fifth of each class."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from snn_fusion.config import load_params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import read_manifest
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace
from tests.conftest import ROOT
from tests.data.small_files import write_bin, write_imu, write_own, write_wav


def words(root: Path, *folders: str, n: int = 10) -> Path:
    for folder in folders:
        for k in range(n):
            write_wav(root / folder / f"{k:03d}.wav")
    return root


def test_labels_are_the_folders_and_a_fifth_of_each_class_is_for_testing(tmp_path: Path) -> None:
    rows, errors = read_folder(words(tmp_path / "lab", "yes", "no"))
    assert errors == []
    assert Counter((row.label, row.split) for row in rows) == {
        ("yes", "train"): 8,
        ("yes", "test"): 2,
        ("no", "train"): 8,
        ("no", "test"): 2,
    }
    assert (rows[0].id, rows[0].source, rows[0].senses["audio"].path) == ("no/000", "lab", "no/000.wav")
    assert read_folder(tmp_path / "lab") == (rows, [])


@pytest.mark.parametrize(("n", "tests"), [(1, 0), (2, 1), (5, 1), (20, 4)])
def test_small_classes_have_a_test_recording_if_they_have_two(tmp_path: Path, n: int, tests: int) -> None:
    rows, _ = read_folder(words(tmp_path / "lab", "yes", n=n))
    assert sum(row.split == "test" for row in rows) == tests


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/{}", "test/{}"),
        ("Training/{}", "Testing/{}"),
        ("{}/train", "{}/test"),
        ("set/train/{}", "set/test/{}"),
        ("n-cars_train/{}", "n-cars_test/{}"),
        ("val/{}", "test/{}"),
    ],
)
def test_folders_may_say_the_split(tmp_path: Path, train: str, test: str) -> None:
    root = words(tmp_path / "lab", *(train.format(label) for label in ("yes", "no")), n=3)
    rows, errors = read_folder(words(root, *(test.format(label) for label in ("yes", "no")), n=2))
    assert errors == []
    assert Counter((row.label, row.split) for row in rows) == {
        ("yes", "train"): 3,
        ("yes", "test"): 2,
        ("no", "train"): 3,
        ("no", "test"): 2,
    }


def test_a_class_may_be_called_train_among_others(tmp_path: Path) -> None:
    rows, _ = read_folder(words(tmp_path / "lab", "train", "car", n=2))
    assert {row.label for row in rows} == {"train", "car"}


def test_speech_commands_keeps_its_speakers_and_its_list(tmp_path: Path) -> None:
    for label in ("yes", "no"):
        for speaker in ("0a7c2a8d", "3bb68054", "c1d39ce8"):
            write_wav(tmp_path / "sc" / label / f"{speaker}_nohash_0.wav")
    write_wav(tmp_path / "sc" / "_background_noise_" / "pink.wav")
    rows, _ = read_folder(tmp_path / "sc")
    assert {row.label for row in rows} == {"yes", "no"}
    assert {row.subjects for row in rows} == {("0a7c2a8d",), ("3bb68054",), ("c1d39ce8",)}
    splits = {(row.subjects, row.split) for row in rows}
    assert len(splits) == 3  # nobody is in both
    (tmp_path / "sc" / "testing_list.txt").write_text("yes/0a7c2a8d_nohash_0.wav\nno/0a7c2a8d_nohash_0.wav\n")
    rows, _ = read_folder(tmp_path / "sc")
    assert {row.subjects for row in rows if row.split == "test"} == {("0a7c2a8d",)}


def test_each_file_gives_the_sense_of_its_type_and_files_of_one_name_are_one_recording(tmp_path: Path) -> None:
    write_wav(tmp_path / "lab" / "yes" / "1.wav")
    write_imu(tmp_path / "lab" / "yes" / "1.csv")
    write_bin(tmp_path / "lab" / "yes" / "2.bin")
    write_imu(tmp_path / "lab" / "no" / "3.csv")
    (tmp_path / "lab" / "no" / "notes.md").write_text("recorded on Monday")
    rows, errors = read_folder(tmp_path / "lab")
    assert errors == []
    assert {row.id: set(row.senses) for row in rows} == {
        "no/3": {"imu"},
        "yes/1": {"audio", "imu"},
        "yes/2": {"events"},
    }


def test_a_table_of_events_is_told_from_one_of_an_imu_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "lab" / "yes").mkdir(parents=True)
    (tmp_path / "lab" / "yes" / "1.csv").write_text("t,x,y,p\n0,1,2,1\n")
    write_imu(tmp_path / "lab" / "yes" / "2.csv")
    rows, (error,) = read_folder(tmp_path / "lab")
    assert [set(row.senses) for row in rows] == [{"imu"}]
    assert "1.csv: the file does not say the sensor's size" in str(error)


def test_files_that_cannot_be_read_are_errors_with_what_to_do(tmp_path: Path) -> None:
    root = words(tmp_path / "lab", "yes", n=2)
    (root / "yes" / "9.webm").write_bytes(b"\x1aE\xdf\xa3")
    write_wav(root / "yes" / "000.flac")
    rows, errors = read_folder(root)
    assert [row.id for row in rows] == ["yes/001"]
    assert "000.flac and 000.wav are the same sense of one recording" in str(errors[1])
    assert "unknown suffix '.webm' for audio (convert it: ffmpeg -i 9.webm -ac 1 9.wav" in str(errors[0])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "which folder of test is the label cannot be told"),
        (("ann/yes", "bob/yes"), "which folder of ann/yes is the label cannot be told"),
        (("yes", "no/loud"), "folders of different depth hold recordings: no/loud and yes"),
    ],
)
def test_folders_that_cannot_be_labels_are_refused_with_an_example(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=rf"{message} \(use CLASS/file or SPLIT/CLASS/file, or write a recordings\.csv"):
        read_folder(words(tmp_path / "lab", *folders, n=2))


def test_a_folder_above_one_with_a_recordings_csv_is_no_class_folder(tmp_path: Path) -> None:
    write_own(tmp_path / "lab")
    with pytest.raises(BadInput, match="no recordings in this folder"):
        read_folder(tmp_path)


def test_the_import_prints_labels_splits_and_remarks_and_can_be_imported_from(tmp_path: Path) -> None:
    root = words(tmp_path / "lab", "yes", "no", n=5)
    data = bytearray((root / "yes" / "000.wav").read_bytes())
    data[40:44] = bytes(4)
    (root / "yes" / "000.wav").write_bytes(data)
    ws = Workspace(tmp_path / "home")
    result = import_recordings(load_params(ROOT / "params.yaml"), ws, source=root)
    assert result["splits"] == {"lab": {"no": {"train": 4, "test": 1}, "yes": {"train": 4, "test": 1}}}
    (remark,) = result["remarks"]
    assert remark.startswith("lab/yes/000.wav: the header gives 0 bytes for the length of the sound")
    rows = {row.id: row for row in read_manifest(ws.path("recordings", "manifest.parquet"))}
    assert rows["lab/yes/000"].senses["audio"].remarks[0] in remark
    shutil.copytree(ws.path("recordings", "lab"), tmp_path / "again")
    again, errors = read_folder(tmp_path / "again")
    assert errors == [] and [(row.id, row.label, row.split) for row in again] == [
        (row.id.removeprefix("lab/"), row.label, row.split) for row in rows.values()
    ]
