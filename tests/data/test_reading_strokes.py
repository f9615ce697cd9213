"""UNIPEN text and the virtual stylus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Imu
from snn_fusion.data.stylus import stylus_imu
from snn_fusion.data.unipen import Stroke, read_segment, segments
from snn_fusion.errors import BadRecording
from tests.data.small_files import segment, write_pen

POINTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12)
STROKES = st.lists(POINTS, min_size=1, max_size=4)


def stroke(points: list[tuple[int, int]]) -> Stroke:
    return Stroke(np.array(points, float) * 1e-4)


def read_pen(path: Path, member: str) -> Imu:
    imu = read(path, "imu", member)
    assert isinstance(imu, Imu)
    return imu


def test_a_member_is_one_segment_with_label_and_writer(tmp_path: Path) -> None:
    path = write_pen(tmp_path / "a.tra", "37", writer=12)
    assert [(s.label, s.writer) for s in segments(path)] == [("3", "12"), ("7", "12")]
    (only,) = read_segment(path, "0001")
    np.testing.assert_allclose(only.points[0], [0.001, 0.001])  # 10 units of 0.1 mm


def test_stroke_ranges_and_gaps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.unipen"
    path.write_text(segment("4", strokes=[[(0, 0), (5, 5)], [(9, 9)]]).replace(".DT 100", ".DT 250", 1))
    first, second = read_segment(path, "0000")
    assert (len(first.points), first.gap_us) == (2, 250_000)
    assert (len(second.points), second.gap_us) == (1, 100_000)


def test_rate_and_scale_of_the_file_are_honoured(tmp_path: Path) -> None:
    path = tmp_path / "a.unipen"
    path.write_text(".POINTS_PER_SECOND 200\n.X_POINTS_PER_MM 100\n" + segment("1"))
    imu = read_pen(path, "0")
    assert imu.t[1] == 5000
    (only,) = read_segment(path, "0")
    np.testing.assert_allclose(only.points[0], [1e-4, 1e-4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (segment("4")[:-20], r"#0000: truncated: \.SEGMENT promises 1 strokes, 0 are whole"),
        (
            segment("4").replace("DIGIT 0 ", "DIGIT 0-2 "),
            r"#0000: truncated: \.SEGMENT promises 3 strokes, 1 are whole",
        ),
        (segment("4").replace(" 14   10", " nan  10"), "#0000: point 'nan  10' is not two whole numbers"),
        (segment("4", strokes=[[]]), "#0000: zero length: a stroke without points"),
        (segment("4", strokes=[[(10**9, 1)]]), "#0000: point 1000000000 is beyond 1000000 tablet units"),
        (segment("4").replace("DT 100", "DT 99999999999"), r"#0000: \.DT: 99999999999 ms is more than an hour"),
        (segment("4").replace('? "4"', ""), r"#0000: \.SEGMENT: '\.SEGMENT DIGIT 0 ' is not understood"),
        ("hello", r"\.tra: no \.SEGMENT in the file"),
    ],
)
def test_a_damaged_segment_names_file_member_and_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.tra"
    path.write_text(text)
    with pytest.raises(BadRecording, match=message):
        read(path, "imu", "0000")


def test_a_member_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"a\.tra#0010: no such recording in the file \(it has 0 to 9\)"):
        read(write_pen(tmp_path / "a.tra"), "imu", "0010")


def test_a_container_without_a_member_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"holds many recordings \(name one, e\.g\. a\.tra#0012\)"):
        read(write_pen(tmp_path / "a.tra"), "imu")


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write_pen(tmp_path / "a.tra", "1")
    assert len(segments(path)) == 1
    write_pen(path, "123")
    assert len(segments(path)) == 3


def test_a_line_drawn_at_constant_speed_feels_like_this() -> None:
    """20 units of 0.1 mm each 10 ms to the right: 0.2 m/s, reached from rest in one sample."""
    imu = stylus_imu([stroke([(0, 0), (20, 0), (40, 0), (60, 0)])])
    assert imu.channels == ("acc_x", "acc_y", "turn_rate", "contact")
    assert imu.units == ("m/s^2", "m/s^2", "rad/s", "1")
    assert imu.t.tolist() == [0, 10_000, 20_000, 30_000, 40_000]
    np.testing.assert_allclose(imu.values[:, 0], [0, 20, 0, 0, -20], atol=1e-5)
    np.testing.assert_allclose(imu.values[:, 1:3], 0, atol=1e-5)
    assert imu.values[:, 3].tolist() == [1, 1, 1, 1, 0]


def test_a_right_angle_to_the_left_turns_by_half_pi_in_one_sample() -> None:
    imu = stylus_imu([stroke([(0, 0), (20, 0), (20, 20)])])
    np.testing.assert_allclose(imu.values[:, 2], [0, 0, np.pi / 2 / 0.01, 0], rtol=1e-5)


def test_a_turn_made_while_nearly_at_rest_is_counted_when_the_pen_moves_again() -> None:
    imu = stylus_imu([stroke([(0, 0), (20, 0), (21, 0), (21, 1), (21, 21)])])
    np.testing.assert_allclose(imu.values[:, 2], [0, 0, 0, 0, np.pi / 2 / 0.03, 0], rtol=1e-5)


def test_landing_after_100_ms_has_the_mean_velocity_through_the_air() -> None:
    imu = stylus_imu([stroke([(0, 0)]), stroke([(90, 0), (90, 0)])])
    assert imu.t.tolist() == [0, 10_000, 100_000, 110_000, 120_000]
    # 9 mm in the 90 ms since the lifting: 0.1 m/s, and at rest again one sample later.
    np.testing.assert_allclose(imu.values[:, 0], [0, 0, 0.1 / 0.09, -0.1 / 0.01, 0], rtol=1e-5)


@given(STROKES, st.data())
def test_the_imu_of_the_first_points_is_the_first_part_of_the_imu(
    drawn: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    """Causality: nothing that is drawn later changes what was felt before."""
    whole = stylus_imu([stroke(points) for points in drawn])
    last = data.draw(st.integers(0, len(drawn) - 1))
    cut = data.draw(st.integers(1, len(drawn[last])))
    part = stylus_imu([stroke(points) for points in [*drawn[:last], drawn[last][:cut]]])
    kept = len(part.t) - 1  # without the sample of lifting the pen, which the whole does not have there
    assert (part.t[:kept] == whole.t[:kept]).all()
    assert (part.values[:kept] == whole.values[:kept]).all()
    if cut == len(drawn[last]):
        assert (part.values == whole.values[: len(part.t)]).all()


@settings(max_examples=30)
@given(STROKES)
def test_integrating_the_acceleration_twice_gives_the_path_back(drawn: list[list[tuple[int, int]]]) -> None:
    imu = stylus_imu([stroke(points) for points in drawn])
    seconds = np.diff(imu.t, prepend=0)[:, None] * 1e-6
    velocity = np.cumsum(imu.values[:, :2].astype(float) * seconds, axis=0)
    place = np.cumsum(velocity * seconds, axis=0)
    points = np.vstack([np.array([*one, one[-1]], float) for one in drawn]) * 1e-4
    np.testing.assert_allclose(place, points - points[0], atol=1e-4)


def test_the_real_digits_can_all_be_felt(mirror: Path) -> None:
    path = mirror / "pendigits" / "pendigits-orig.tes"
    for n in range(0, len(segments(path)), 40):
        imu = read_pen(path, f"{n:04d}")
        assert np.isfinite(imu.values).all() and (np.diff(imu.t) > 0).all()
        assert set(imu.values[:, 3]) == {0, 1}
