"""What readers found unusual comes through to the warnings of validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.data.folder import read_folder
from snn_fusion.data.manifest import Ref
from snn_fusion.data.recording import Sense
from snn_fusion.data.summary import kinds_of_remarks
from snn_fusion.validation.tables import measure_recording
from tests.data.small_files import write_wav
from tests.data.wav_files import tone_with


def test_a_measurement_carries_the_remarks_of_its_reader(tmp_path: Path, params: Params) -> None:
    (tmp_path / "a.wav").write_bytes(tone_with(0))
    write_wav(tmp_path / "b.wav")
    remarks = measure_recording(tmp_path, {"audio": Ref("a.wav", "", "")}, "audio", params.encoding)["remarks"]
    assert isinstance(remarks, str) and remarks.startswith("the header gives 0 bytes for the length of the sound")
    assert measure_recording(tmp_path, {"audio": Ref("b.wav", "", "")}, "audio", params.encoding)["remarks"] is None


@pytest.mark.parametrize("sense", ["events", "imu"])
def test_an_imu_on_another_clock_than_the_camera_is_said_and_lies_in_the_window(
    sense: Sense, tmp_path: Path, params: Params
) -> None:
    """Camera from 0, IMU with microseconds since 1970: as a driver and a phone write them."""
    start = 1_732_800_000_000_000
    rows = [f"{start + 10_000 * n},{0.1 * n},{-0.2 * n}" for n in range(80)]
    (tmp_path / "imu.csv").write_text("\n".join(["t[us],acc_x[m/s^2],acc_y[m/s^2]", *rows]) + "\n")
    events = [f"{1000 * n},{n % 34},{n % 30},{n % 2}" for n in range(800)]
    (tmp_path / "events.csv").write_text("\n".join(["t,x,y,p", *events]) + "\n")
    (tmp_path / "recordings.csv").write_text("id,label,events,imu,events_size\n1,yes,events.csv,imu.csv,34x34\n")
    (row,), damaged = read_folder(tmp_path)
    assert not damaged
    (said,) = row.senses[sense].remarks
    assert said.startswith("the first time stamp of imu is 1,732,800,000 s after that of events")
    found = measure_recording(tmp_path, row.senses, sense, params.encoding)
    assert found["remarks"] == said and found["used_share"] == 1.0


def test_remarks_that_differ_in_numbers_are_one_line_with_an_example() -> None:
    files = [(f"{n}.raw", (f"{n} events were dropped",)) for n in range(1, 4)] + [("a.wav", ("channel 2 is silent",))]
    assert kinds_of_remarks(files) == [
        "3 files, e.g. 1.raw: 1 events were dropped",
        "a.wav: channel 2 is silent",
    ]
