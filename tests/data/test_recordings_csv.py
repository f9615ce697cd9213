"""recordings.csv: every mistake is named with file, row, column, value and remedy, all of them at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from snn_fusion.data.folder import read_folder
from snn_fusion.data.manifest import Ref, Row
from snn_fusion.data.table import default_split, write_table
from snn_fusion.errors import BadInput
from tests.data.small_files import write_bin, write_own, write_pen, write_wav


def folder_with(tmp_path: Path, table: str) -> Path:
    write_wav(tmp_path / "a.wav")
    write_bin(tmp_path / "a.bin")
    write_pen(tmp_path / "pen.tra", "12")
    (tmp_path / "recordings.csv").write_text(table)
    return tmp_path


def test_a_folder_of_ones_own_gives_rows_with_all_senses(tmp_path: Path) -> None:
    rows, errors = read_folder(write_own(tmp_path / "lab"))
    assert errors == []
    assert [row.id for row in rows] == ["take0", "take1", "take2", "take3"]
    row = rows[3]
    assert (row.label, row.split, row.source) == ("yes", "test", "lab")
    assert set(row.senses) == {"audio", "events", "imu"} and row.subjects == ("s0",)
    data = (tmp_path / "lab" / "sound" / "3.wav").read_bytes()
    assert row.senses["audio"] == Ref("sound/3.wav", hashlib.sha256(data).hexdigest(), "s0")


def test_optional_columns_may_be_absent_or_empty(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "id,label,audio,imu\none,yes,a.wav,\ntwo,no,,pen.tra#0001\n")
    rows, errors = read_folder(folder)
    assert errors == []
    assert [set(row.senses) for row in rows] == [{"audio"}, {"imu"}]
    assert [row.split for row in rows] == [default_split("one"), default_split("two")]


def test_an_empty_split_is_filled_by_subject_and_stays_when_recordings_are_added() -> None:
    splits = [default_split(f"subject{n}") for n in range(1000)]
    assert 0.16 < splits.count("test") / 1000 < 0.24
    assert [default_split(f"subject{n}") for n in range(20)] == splits[:20]


def test_a_subject_a_sense_and_a_sensor_size_are_kept(tmp_path: Path) -> None:
    table = "id,label,subject,audio,events,events_subject,events_size\none,yes,ann,a.wav,a.bin,bob,128x64\n"
    (row,), _ = read_folder(folder_with(tmp_path, table))
    assert (row.senses["audio"].subject, row.senses["events"].subject) == ("ann", "bob")
    assert row.senses["events"].size == (128, 64)


def test_a_byte_order_mark_and_quoted_commas_are_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "")
    (folder / "recordings.csv").write_bytes(b'\xef\xbb\xbfid,label,audio\r\n"one, again",yes,a.wav\r\n')
    (row,), errors = read_folder(folder)
    assert (row.id, errors) == ("one, again", [])


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_as_a_spreadsheet_saves_it_is_read(tmp_path: Path, separator: str, encoding: str) -> None:
    folder = folder_with(tmp_path, "")
    text = "id,label,audio\none,yes,a.wav\n".replace(",", separator)
    (folder / "recordings.csv").write_bytes(text.encode(encoding))
    (row,), errors = read_folder(folder)
    assert (row.id, row.label, errors) == ("one", "yes", [])


def test_the_columns_of_an_imu_s_table_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,ax\n0,1\n0.01,2\n")
    (tmp_path / "recordings.csv").write_text("id,label,imu,imu_columns\none,yes,a.csv,t[s]=time; acc_x[g]=ax\n")
    rows, errors = read_folder(tmp_path)
    assert errors == []
    assert rows[0].senses["imu"].columns == "t[s]=time; acc_x[g]=ax"
    assert rows[0].senses["imu"].remarks == ("acc_x was converted from g to m/s^2",)
    write_table(tmp_path / "recordings.csv", rows)
    assert read_folder(tmp_path) == (rows, [])


def test_a_file_may_be_in_two_rows_of_one_label(tmp_path: Path) -> None:
    table = "id,label,audio,events\none,yes,a.wav,\ntwo,yes,a.wav,a.bin\n"
    rows, errors = read_folder(folder_with(tmp_path, table))
    assert ([row.id for row in rows], errors) == (["one", "two"], [])


HEAD = "id,label,split,audio\n"


@pytest.mark.parametrize(
    ("table", "where", "message"),
    [
        (HEAD + "one,yes,train,a.wav\none,yes,train,a.wav\n", "row 3: id", r"'one' is there twice"),
        (HEAD + "one,yes,dev,a.wav\n", "row 2: split", "unknown split 'dev' (write train, test or nothing)"),
        (HEAD + "one,,train,a.wav\n", "row 2: label", "is empty (every recording needs its label)"),
        (HEAD + ",yes,train,a.wav\n", "row 2: id", "is empty"),
        (HEAD + "one,yes,train,b.wav\n", "row 2: audio", "no such file 'b.wav' (paths are relative to"),
        (
            HEAD + "one,yes,train,a.m4a\n",
            "row 2: audio",
            "'a.m4a': unknown suffix '.m4a' for audio (convert it: ffmpeg -i",
        ),
        (HEAD + "one,yes,train,../a.wav\n", "row 2: audio", "path '../a.wav' leads out of the folder"),
        (HEAD + "one,yes,train,/a.wav\n", "row 2: audio", "path '/a.wav' leads out of the folder"),
        (HEAD + "one,yes,train,C:\\a.wav\n", "row 2: audio", r"path 'C:\\a.wav' leads out of the folder"),
        (HEAD + "one,yes,train,\n", "row 2", "no file (name one in a column of audio, events, imu)"),
        (HEAD + "one,yes,train\n", "row 2", "not as many values as the header has columns"),
        (HEAD + "one,yes,train,a.wav,extra\n", "row 2", "not as many values as the header has columns"),
        ("id,label,imu\none,1,pen.tra#0007\n", "pen.tra#0007", "no such recording in the file (it has 0 to 1)"),
        (
            "id,label,imu\none,1,pen.tra\n",
            "row 2: imu",
            "'pen.tra' holds many recordings (name one, e.g. pen.tra#0012)",
        ),
        (
            HEAD + "one,yes,train,a.wav\ntwo,no,test,./a.wav\n",
            "row 3: audio",
            "'./a.wav' is 'no' here and 'yes' in row 2 (give a file one label)",
        ),
        (HEAD + f"one,yes,train,{'a' * 300}.wav\n", "row 2: audio", "a path of 304 characters, 'aaa"),
        ("id,label,events,events_size\none,1,a.bin,5000x40\n", "row 2: events_size", "1 to 4096 a side"),
        ("id,label,events,events_size\none,1,a.bin,34\n", "row 2: events_size", "'34' is not WIDTHxHEIGHT in pixels"),
    ],
)
def test_a_wrong_row_is_named_with_row_column_and_value(tmp_path: Path, table: str, where: str, message: str) -> None:
    _, (error,) = read_folder(folder_with(tmp_path, table))
    assert error.where.endswith(where)
    assert message in str(error)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "the file is empty"),
        ("id,audio\none,a.wav\n", "header: no column label (it has id, audio)"),
        ("id,label,split\none,yes,train\n", "header: no column of a sense"),
        ("id,label,audio,sound\none,yes,a.wav,b\n", "header: unknown column sound"),
        ("id,label,audio,audio\none,yes,a.wav,b\n", "header: column audio is there twice"),
        ('id,label,audio\n"one,yes,a.wav\n', "not a CSV file: unexpected end of data"),
    ],
)
def test_a_wrong_header_stops_with_a_remedy(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(BadInput, match=r"recordings\.csv: ") as caught:
        read_folder(folder_with(tmp_path, table))
    assert message in str(caught.value)


def test_a_wrong_checksum_names_file_expected_and_found(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, f"id,label,audio,audio_sha256\none,yes,a.wav,{'0' * 64}\n")
    found = hashlib.sha256((folder / "a.wav").read_bytes()).hexdigest()
    rows, (error,) = read_folder(folder)
    assert rows == []
    assert f"a.wav: wrong checksum: expected {'0' * 64}, found {found}" in str(error)


def test_all_damage_is_listed_at_once_and_the_good_rows_are_kept(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "lab")
    (folder / "sound" / "0.wav").write_bytes(b"RIFF")
    (folder / "camera" / "1.bin").write_bytes(b"123")
    (folder / "touch" / "2.csv").unlink()
    rows, errors = read_folder(folder)
    assert [row.id for row in rows] == ["take3"]
    assert sorted(Path(error.where.split(": ")[0]).name for error in errors) == ["0.wav", "1.bin", "recordings.csv"]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "lab")
    rows, _ = read_folder(folder)
    one = Row("sized", "no", "train", "lab", {"events": Ref("camera/0.bin", "", "", (40, 40))})
    write_table(folder / "recordings.csv", [*rows, one])
    again, errors = read_folder(folder)
    assert errors == [] and again[:-1] == rows
    assert again[-1].senses["events"].size == (40, 40)
