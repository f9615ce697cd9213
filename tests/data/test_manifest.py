"""The manifest is read back as it was written, and refuses what it is not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snn_fusion.data.manifest import Ref, Row, load, read_manifest, write_manifest
from snn_fusion.errors import BadInput, BadRecording
from tests.data.small_files import write_wav

ROWS = [
    Row("a/1", "yes", "train", "a", {"audio": Ref("a/x#1.wav", "00", "ann")}),
    Row(
        "a/2",
        "no",
        "test",
        "a",
        {
            "events": Ref("a/2.bin", "11", "", (64, 48)),
            "imu": Ref("a/2.tra#0003", "22", "b", None, "t[s]=time", ("a remark",)),
        },
    ),
]


def test_rows_come_back(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", ROWS)
    assert read_manifest(tmp_path / "m.parquet") == ROWS
    write_manifest(tmp_path / "m.parquet", [])
    assert read_manifest(tmp_path / "m.parquet") == []


def test_columns_are_the_documented_ones_and_absent_senses_are_null(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", ROWS)
    table = pq.read_table(tmp_path / "m.parquet")
    senses = [f"{sense}_{part}" for sense in ("audio", "events", "imu") for part in ("path", "sha256", "subject")]
    added = ["imu_columns", "audio_remarks", "events_remarks", "imu_remarks"]
    assert table.column_names == ["id", "label", "split", "source", *senses, "events_width", "events_height", *added]
    assert table["audio_path"].to_pylist() == ["a/x#1.wav", None]


def test_a_manifest_that_is_missing_or_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"m\.parquet: no such manifest \(run `snn-fusion import`\)"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_text("hello")
    with pytest.raises(BadInput, match=r"m\.parquet: not a manifest"):
        read_manifest(tmp_path / "m.parquet")
    pq.write_table(pa.table({"id": ["a"], "label": ["b"]}), tmp_path / "m.parquet")
    with pytest.raises(BadInput, match=r"m\.parquet: not a manifest: no column split"):
        read_manifest(tmp_path / "m.parquet")


def test_a_hash_mark_in_a_plain_file_s_name_is_no_member(tmp_path: Path) -> None:
    write_wav(tmp_path / "a" / "x#1.wav")
    assert load(tmp_path, ROWS[0].senses["audio"], "audio").duration_us == 100_000


def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"2\.bin: no such file"):
        load(tmp_path, ROWS[1].senses["events"], "events")
