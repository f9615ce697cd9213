"""What readers found unusual comes through to the warnings of validation."""

from __future__ import annotations

from pathlib import Path

from snn_fusion.data.manifest import Ref
from snn_fusion.data.summary import kinds_of_remarks
from snn_fusion.validation.measure import measure_recording
from tests.data.small_files import write_wav
from tests.data.wav_files import tone_with


def test_a_measurement_carries_the_remarks_of_its_reader(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone_with(0))
    write_wav(tmp_path / "b.wav")
    remarks = measure_recording(tmp_path, Ref("a.wav", "", ""), "audio")["remarks"]
    assert isinstance(remarks, str) and remarks.startswith("the header gives 0 bytes for the length of the sound")
    assert measure_recording(tmp_path, Ref("b.wav", "", ""), "audio")["remarks"] is None


def test_remarks_that_differ_in_numbers_are_one_line_with_an_example() -> None:
    files = [(f"{n}.raw", (f"{n} events were dropped",)) for n in range(1, 4)] + [("a.wav", ("channel 2 is silent",))]
    assert kinds_of_remarks(files) == [
        "3 files, e.g. 1.raw: 1 events were dropped",
        "a.wav: channel 2 is silent",
    ]
