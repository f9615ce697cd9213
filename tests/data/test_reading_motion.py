"""IMU recordings as CSV and Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Imu
from snn_fusion.errors import BadRecording
from tests.data.small_files import write_imu

GOOD = "t_us,acc_x[m/s^2],contact[1]\n0,0.5,1\n10000,-0.25,0\n"


def test_csv_gives_times_values_channels_and_units(tmp_path: Path) -> None:
    imu = read(write_imu(tmp_path / "a.csv", GOOD), "imu")
    assert isinstance(imu, Imu)
    assert imu.t.tolist() == [0, 10000] and imu.t.dtype == np.int64
    assert imu.values.tolist() == [[0.5, 1.0], [-0.25, 0.0]] and imu.values.dtype == np.float32
    assert imu.channels == ("acc_x", "contact") and imu.units == ("m/s^2", "1")


def test_parquet_with_units_in_the_metadata_gives_the_same(tmp_path: Path) -> None:
    fields = [
        pa.field("t_us", pa.int64()),
        pa.field("acc_x", pa.float32(), metadata={b"unit": b"m/s^2"}),
        pa.field("contact", pa.bool_(), metadata={b"unit": b"1"}),
    ]
    table = pa.table({"t_us": [0, 10000], "acc_x": [0.5, -0.25], "contact": [True, False]}, schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "a.parquet")
    one, other = read(tmp_path / "a.parquet", "imu"), read(write_imu(tmp_path / "a.csv", GOOD), "imu")
    assert isinstance(one, Imu) and isinstance(other, Imu)
    assert (one.t == other.t).all() and (one.values == other.values).all()
    assert (one.channels, one.units) == (other.channels, other.units)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "zero length: the file is empty"),
        ("t_us,a[1]\n", "zero length: no rows"),
        ("when,a[1]\n0,1\n", r"no column of time \(it has when, a\[1\]; name one t_us, t_ms, t_s or t_ns"),
        ("t_us\n0\n", "no channel column"),
        ("t_us,a\n0,1\n", r"a: no unit \(write a\[m/s\^2\], or \[1\]"),
        ("t_us,a[1]\n0,1\n1000,nan\n", r"a\[1\]: row 2 is nan"),
        ("t_us,a[1]\n0,1\n1000,\n", r"a\[1\]: row 2 is empty"),
        ("t_us,a[1]\n0,inf\n1000,2\n", r"a\[1\]: row 1 is inf"),
        ("t_us,a[1]\n0,1\n1000,abc\n", r"a\[1\]: row 2 is 'abc', not a number"),
        ("t_us,a[1]\n0,2020-01-01\n", r"a\[1\]: row 1 is '2020-01-01', not a number"),
        ("t_us,acc_x[m/s^2],b[1],acc_x[g]\n0,1,1,1\n", r"channel acc_x is there twice, in m/s\^2 and g \(give each"),
        (
            "t_us,a[1]\n0,1\n2000,2\n2000,3\n",
            "t_us: row 3 at 2000 us does not come after row 2, which has the same time",
        ),
        ("t_us,a[1]\n0,1\n20,2\n10,3\n", "t_us: row 3 at 10 does not come after 20"),
        ("t_us,a[1],a[1]\n0,1,1\n", r"column a\[1\] is there twice"),
        ("t_us,a[1]\n0,1,2\n", "row 1 has 3 values, the header 2"),
    ],
)
def test_a_damaged_csv_names_file_column_and_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadRecording, match=rf"bad\.csv: {message}"):
        read(write_imu(tmp_path / "bad.csv", text), "imu")


def test_parquet_without_a_unit_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t_us": [0, 1], "acc_x": [0.0, 1.0]}), tmp_path / "a.parquet")
    with pytest.raises(BadRecording, match=r"a\.parquet: acc_x: no unit"):
        read(tmp_path / "a.parquet", "imu")


def test_a_csv_header_that_is_not_utf_8_names_file_and_column(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes("t_us,acc_é[m/s^2]\n0,1\n".encode("latin1"))
    with pytest.raises(BadRecording, match=r"bad\.csv: not text in UTF-8: byte 9 begins b'\\xe9\[m/s"):
        read(path, "imu")


def test_a_parquet_unit_that_is_not_utf_8_names_file_and_column(tmp_path: Path) -> None:
    fields = [pa.field("t_us", pa.int64()), pa.field("acc", pa.float64(), metadata={b"unit": b"\xff\xfe"})]
    pq.write_table(pa.table([[0, 1], [0.0, 1.0]], schema=pa.schema(fields)), tmp_path / "a.parquet")
    with pytest.raises(BadRecording, match=r"a\.parquet: acc: its unit is not UTF-8: b'\\xff\\xfe'"):
        read(tmp_path / "a.parquet", "imu")


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t_us": [0, 1]}), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    with pytest.raises(BadRecording, match=r"a\.parquet: not readable as \.parquet"):
        read(tmp_path / "a.parquet", "imu")


def test_more_declared_rows_than_a_recording_can_have_are_refused_without_reading_them(tmp_path: Path) -> None:
    """Run lengths pack them into a few bytes, so the size of the file says nothing."""
    path = tmp_path / "bomb.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array([0], pa.int64()))
    pq.write_table(pa.table({"t_us": pa.chunked_array([column] * 60)}), path, row_group_size=60_000_000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(BadRecording, match="declares 60000000 rows of 1 columns, more than 50000000"):
        read(path, "imu")
