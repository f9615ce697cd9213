"""IMU tables as loggers, phones and spreadsheets write them: read with the right values, or refused by the fault."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Imu
from snn_fusion.errors import BadRecording

HEAD = "t_us,acc_x[m/s^2],turn_rate[rad/s],contact[1]"
ROWS = [(10_000 * n, round(math.sin(n / 9), 6), round(3 * math.cos(n / 5), 6), n % 2) for n in range(40)]
G = 9.80665
Row = tuple[float, ...]


def table(head: str = HEAD, separator: str = ",", f: Callable[[Row], tuple[object, ...]] = lambda row: row) -> str:
    lines = [head.replace(",", separator), *(separator.join(map(str, f(row))) for row in ROWS)]
    return "\n".join(lines) + "\n"


def read_text(tmp_path: Path, text: str | bytes, mapping: str = "", name: str = "a.csv") -> Imu:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    imu = read(tmp_path / name, "imu", columns=mapping)
    assert isinstance(imu, Imu)
    return imu


SAME = {
    "semicolons": table(separator=";"),
    "semicolons and decimal commas": table(separator=";").replace(".", ","),
    "tabs": table(separator="\t"),
    "tabs and decimal commas": table(separator="\t").replace(".", ","),
    "bars": table(separator="|"),
    "spaces": table(separator="   "),
    "blanks after commas": table(separator=", "),
    "a line sep=": "sep=;\n" + table(separator=";"),
    "comments": "# device 12\n% rate 100 Hz\n" + table(),
    "a header in a comment": "# device 12\n# " + table(),
    "blank lines": table().replace("\n", "\n\n"),
    "a comma at the end of each line": table().replace("\n", ",\n"),
    "a comma at the end of each row": HEAD + table().removeprefix(HEAD).replace("\n", ",\n").removeprefix(","),
    "CRLF and a byte order mark": b"\xef\xbb\xbf" + table().replace("\n", "\r\n").encode(),
    "CR": table().replace("\n", "\r"),
    "UTF-16": table().encode("utf-16"),
    "UTF-16 without a mark": table().encode("utf-16-le"),
    "UTF-16, big-endian": b"\xfe\xff" + table().encode("utf-16-be"),
    "UTF-16, big-endian, without a mark": table().encode("utf-16-be"),
    "UTF-32, big-endian": b"\0\0\xfe\xff" + table().encode("utf-32-be"),
    "units in a second line": table("t,acc_x,turn_rate,contact\nus,m/s^2,rad/s,1"),
    "units in brackets in a second line": table("t,acc_x,turn_rate,contact\n[µs],[m/s²],[rad/s],[-]", ";"),
    "units in a second line, some with their names": table("t_us,acc_x[m/s^2],turn_rate,contact[1]\n,,rad/s,"),
    "quotes": table().replace("acc_x[m/s^2]", '"acc_x[m/s^2]"').replace("\n10000,", '\n"10000",'),
    "true and false": table(f=lambda row: (*row[:3], "True" if row[3] else "False")),
    "units in parentheses": table("t_us,acc_x (m/s^2),turn_rate (rad/s),contact (1)"),
    "superscripts": table("t_us,acc_x[m/s²],turn_rate[rad/s],contact[1]"),
    "m/s2": table("t_us,acc_x [m/s2],turn_rate [rad/sec],contact [bool]"),
    "no end of the last line": table()[:-1],
    "times with decimals": table(f=lambda row: (f"{row[0]}.0", *row[1:])),
    "seconds": table("t_s" + HEAD[4:], f=lambda row: (row[0] / 1e6, *row[1:])),
    "seconds with their unit": table("Time (s)" + HEAD[4:], f=lambda row: (row[0] / 1e6, *row[1:])),
    "milliseconds": table("t_ms" + HEAD[4:], f=lambda row: (row[0] // 1000, *row[1:])),
    "nanoseconds": table("timestamp[ns]" + HEAD[4:], f=lambda row: (row[0] * 1000, *row[1:])),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_table_gives_the_same_recording_however_it_is_written(tmp_path: Path, name: str) -> None:
    imu = read_text(tmp_path, SAME[name])
    np.testing.assert_array_equal(imu.t, [row[0] for row in ROWS])
    np.testing.assert_array_equal(imu.values, np.array([row[1:] for row in ROWS], np.float32))
    assert (imu.channels, imu.units) == (("acc_x", "turn_rate", "contact"), ("m/s^2", "rad/s", "1"))
    assert imu.remarks == ()


def test_a_column_may_go_on_with_decimals_after_90_000_whole_numbers(tmp_path: Path) -> None:
    text = "t_us,a[1]\n" + "".join(f"{1000 * n},0\n" for n in range(90_000)) + "90000000,0.5\n90001000,0.25\n"
    imu = read_text(tmp_path, text)
    assert imu.values[-3:, 0].tolist() == [0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("unit", "si", "factor"),
    [
        ("g", "m/s^2", G),
        ("mg", "m/s^2", G / 1000),
        ("deg/s", "rad/s", np.pi / 180),
        ("°", "rad", np.pi / 180),
        ("uT", "uT", 1),
    ],
)
def test_units_become_si_and_the_remark_says_so(tmp_path: Path, unit: str, si: str, factor: float) -> None:
    imu = read_text(tmp_path, f"t_us,a[{unit}]\n0,1\n10000,-2.5\n")
    np.testing.assert_allclose(imu.values[:, 0], [factor, -2.5 * factor], rtol=1e-6)
    assert imu.units == (si,)
    assert imu.remarks == (() if factor == 1 else (f"a was converted from {unit} to {si}",))


@pytest.mark.parametrize(("unit", "scale"), [("ns", 1000), ("us", 1), ("ms", 1 / 1000), ("s", 1e-6)])
def test_a_time_without_unit_is_known_by_its_date_or_its_steps(tmp_path: Path, unit: str, scale: float) -> None:
    steps = [f"{row[0] * scale:.15g}" for row in ROWS[:4]]
    imu = read_text(tmp_path, "time,a[1]\n" + "".join(f"{t},0\n" for t in steps))
    assert imu.t.tolist() == [0, 10_000, 20_000, 30_000]
    assert imu.remarks == (f"time: taken as {unit}, by its steps",)
    start = 1_732_800_000_000_000
    digits = {"ns": 0, "us": 0, "ms": 3, "s": 6}[unit]
    dates = [f"{Decimal(start + row[0]) * Decimal(str(scale)):.{digits}f}" for row in ROWS[:4]]
    imu = read_text(tmp_path, "time,a[1]\n" + "".join(f"{t},0\n" for t in dates))
    assert imu.t.tolist() == [start, start + 10_000, start + 20_000, start + 30_000]
    assert imu.remarks == (f"time: taken as {unit}, by its date",)


RATES = (20, 50, 100, 1000)  # samples a second
UPTIMES_S = (2, 60, 1500, 3 * 86_400, 30 * 86_400)
CLOCKS = {"ns": 10**9, "us": 10**6, "ms": 1000}  # steps of a clock a second


@pytest.mark.parametrize("unit", CLOCKS)
@pytest.mark.parametrize("uptime_s", UPTIMES_S)
def test_a_clock_that_counts_from_boot_is_read_in_its_own_unit(tmp_path: Path, unit: str, uptime_s: int) -> None:
    """1.5e9 us are 25 minutes, 1.5e12 ns too: as s or ms they would be dates, of samples hours apart."""
    for rate in RATES:
        times = [uptime_s * CLOCKS[unit] + n * CLOCKS[unit] // rate for n in range(5)]
        expected = [uptime_s * 1_000_000 + n * 1_000_000 // rate for n in range(5)]
        rows = "".join(f"{t},0\n" for t in times)
        imu = read_text(tmp_path, f"t_{unit},a[1]\n{rows}")
        assert (imu.t.tolist(), imu.remarks) == (expected, ())
        if rate == 1000 and uptime_s > 10 * 86_400:
            continue  # may be dates, a sample a second
        for name in ("t", "timestamp"):
            imu = read_text(tmp_path, f"{name},a[1]\n{rows}")
            assert imu.t.tolist() == expected
            assert imu.remarks == (f"{name}: taken as {unit}, by its steps",)


@pytest.mark.parametrize(
    ("start", "step", "message"),
    [
        (1_732_800_000, 1, r"may be s, by its date \(1 samples .*\) or ms, by its steps \(1,000 .* t_s or t_ms"),
        (1_732_800_000_000, 1000, r"may be ms, by its date .* or us, by its steps .* t_ms or t_us"),
        (133_772_736_000_000_000, 100_000, "steps of 100000 are usual in none of s, ms, us, ns"),  # 100 ns since 1601
    ],
)
def test_a_time_that_may_be_in_two_units_or_in_none_is_refused(
    tmp_path: Path, start: int, step: int, message: str
) -> None:
    with pytest.raises(BadRecording, match=message):
        read_text(tmp_path, "time,a[1]\n" + "".join(f"{start + n * step},0\n" for n in range(4)))


@pytest.mark.parametrize("start", [0, 1_100_000, 30_000_000, 1_732_800_000_000_000, -500_000])
def test_times_are_those_of_the_file_wherever_its_clock_begins(tmp_path: Path, start: int) -> None:
    imu = read_text(tmp_path, f"t_us,a[1]\n{start},0\n{start + 10_000},1\n")
    assert imu.t.tolist() == [start, start + 10_000]


def test_phyphox_is_read_as_it_exports(tmp_path: Path) -> None:
    head = '"Time (s)";"Linear Acceleration x (m/s^2)";"Linear Acceleration y (m/s^2)";"Absolute acceleration (m/s^2)"'
    imu = read_text(tmp_path, head + "\n0,000000000E0;1,5E0;-2,5E-1;3E0\n1,000000000E-2;0;0;0\n")
    assert imu.t.tolist() == [0, 10_000]
    assert imu.channels == ("acc_x", "acc_y", "Absolute acceleration")
    assert imu.values[0].tolist() == [1.5, -0.25, 3]


def test_columns_are_named_anew_by_a_mapping(tmp_path: Path) -> None:
    text = "time,seconds_elapsed,z,y,x\n" + "".join(
        f"{1732800000000000000 + 10**7 * n},{n / 100},1,2,{n}\n" for n in range(3)
    )
    imu = read_text(tmp_path, text, "t[s]=seconds_elapsed; acc_x[m/s^2]=x; acc_z[g]=z")
    assert (imu.t.tolist(), imu.channels, imu.units) == ([0, 10_000, 20_000], ("acc_x", "acc_z"), ("m/s^2", "m/s^2"))
    np.testing.assert_allclose(imu.values[1], [1, G], rtol=1e-6)


def test_a_table_without_a_header_is_read_by_a_mapping_of_all_columns(tmp_path: Path) -> None:
    imu = read_text(tmp_path, "0,1,2\n10,3,4\n", "t_ms; acc_x[m/s^2]; acc_y[m/s^2]")
    assert (imu.t.tolist(), imu.values.tolist()) == ([0, 10_000], [[1, 2], [3, 4]])
    with pytest.raises(BadRecording, match="imu_columns names 2 columns, the file has 3"):
        read_text(tmp_path, "0,1,2\n10,3,4\n", "t_ms; acc_x[m/s^2]")
    with pytest.raises(BadRecording, match=r"imu_columns: no column 'ax' in the file \(it has t_us, a\[1\]"):
        read_text(tmp_path, "t_us,a[1]\n0,1\n", "t_us=t_us; acc_x[g]=ax")


def test_the_rows_numbers_of_a_data_frame_are_left_out(tmp_path: Path) -> None:
    imu = read_text(tmp_path, ",t_us,a[1]\n0,0,5\n1,10000,6\n2,20000,7\n")
    assert (imu.channels, imu.values[:, 0].tolist()) == (("a",), [5, 6, 7])
    assert imu.remarks == ("column 1 has no name and counts the rows: it was left out",)


@pytest.mark.parametrize("cut", [2, 5, 12, 20])
def test_a_last_row_that_was_cut_is_left_out_with_a_remark(tmp_path: Path, cut: int) -> None:
    imu = read_text(tmp_path, table()[:-cut])
    assert len(imu.t) == len(ROWS) - 1
    assert imu.remarks[0].startswith("the last row is cut (")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_table_that_ends_within_a_character_is_read_without_its_last_row(tmp_path: Path, encoding: str) -> None:
    """A logger that lost power: the number that is cut is not taken for a shorter one."""
    text = (table() + "400000,0.25,0.5,1\N{DEGREE SIGN}").encode(encoding)
    imu = read_text(tmp_path, text[:-1])
    np.testing.assert_array_equal(imu.t, [row[0] for row in ROWS])
    assert imu.remarks == ("the last row is cut ('400000,0.25,0.5,1') and was left out",)
    imu = read_text(tmp_path, table().encode(encoding) + b"4")
    assert len(imu.t) == len(ROWS) and imu.remarks[0].startswith("the last row is cut (")


def test_a_row_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    lines = table().splitlines(keepends=True)
    imu = read_text(tmp_path, "".join([*lines[:20], lines[19], *lines[20:]]))
    assert len(imu.t) == len(ROWS)
    assert imu.remarks == ("1 rows repeat the one before and were left out",)


LINES = table().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("".join(LINES[1:]), "no header: the first line holds numbers"),
        (
            "time,ax,ay\n0,1,2\n0.01,1,2\n",
            r"ax: no unit \(write ax\[m/s\^2\], or \[1\].* imu_columns in recor",
        ),
        ("".join([*LINES[:20], *LINES[30:], *LINES[20:30]]), "t_us: row 31 at 190000 does not come after 390000"),
        (
            table(f=lambda row: (row[0] // 20_000 * 20_000, *row[1:])),
            "t_us: row 2 at 0 us does not come after row 1, which",
        ),
        (table().replace("\n100000,0.89", "\n100000,,0.89"), "row 11 has 5 values, the header 4"),
        ("t_us,a[1]\n0,1\n10000,\n20000,3\n", r"a\[1\]: row 2 is empty"),
        ("t_us;a[1]\n0;1.234,5\n", r"a\[1\]: row 1 is '1\.234,5', not a number"),
        ("t_us,a[1],b[1]\n0,0,5,1\n", r"row 1 has 4 values, the header 3.*if these are decimal commas"),
        (
            table(f=lambda row: (row[0] / 1e6, *row[1:])),
            r"t_us: 0\.0, 0\.01, \.\.\. in us would be 100,000,000 samples .*look like s: ",
        ),
        (table(f=lambda row: (row[0] // 1000, *row[1:])), "they look like ms: name the column t_ms"),
        (
            table(f=lambda row: (1732800000000000000 + row[0] * 1000, *row[1:])),
            "they look like ns: name the column t_ns",
        ),
        ("t_us,when[1]\n0,12:30:01\n", r"when\[1\]: row 1 is '12:30:01', not a number"),
        ("t_us,a[1],\n0,1,5\n", "column 3 has no name"),
        (b"t_us,a[1]\n0,\x001\n", "not text: character 12 is NUL"),
        (b"\xff\xfet\0_", "zero length: no rows"),
        (b"\xff\xfet\0\0\xdcx\0", "not text in UTF-16: byte 4"),
        (
            "time,acc x\nof logger,of wrist\n0,1\n",
            "row 1 holds no number, as a second header line: 'of logger,of wrist'",
        ),
        ("t,a[g]\nms,m/s^2\n0,1\n", r"a\[g\]: the line below the header says m/s\^2"),
        ("t,a,b\nms,g\n0,1,2\n", "2 units below the header of 3 columns"),
        (b"PK\3\4" + bytes(range(128, 200)), "not text in UTF-8: byte 4"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_name_of_the_fault(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(BadRecording, match=message):
        read_text(tmp_path, text)


ALPHABET = st.sampled_from(list('0123456789.,;\t \n\r"#-+eE=[]()tax_us/^\0é'))


@given(
    st.one_of(
        st.text(ALPHABET, max_size=80),
        st.builds(lambda n, text: table()[:n] + text, st.integers(0, 900), st.text(ALPHABET, max_size=30)),
    )
)
def test_any_text_gives_a_signal_or_a_reason(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(text.encode())
    for mapping in ("", "t[s]; a[g]"):
        try:
            imu = read(path, "imu", columns=mapping)
        except BadRecording:
            continue
        assert isinstance(imu, Imu) and np.isfinite(imu.values).all() and (np.diff(imu.t) > 0).all()


@given(st.binary(max_size=200))
def test_any_bytes_give_a_signal_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for name in ("fuzz.csv", "fuzz.parquet"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(data)
        try:
            read(path, "imu")
        except BadRecording:
            continue
