"""WAV and FLAC: what is read, and what each kind of damage is called."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Audio
from snn_fusion.errors import BadRecording
from tests.data.small_files import write_wav


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_samples_and_rate_come_back(tmp_path: Path, suffix: str) -> None:
    tone = (0.5 * np.sin(np.arange(2000) / 7)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone, 16000)
    audio = read(path, "audio")
    assert isinstance(audio, Audio)
    assert audio.rate == 16000 and audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, tone, atol=1 / 32768)


def test_several_channels_are_averaged(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.column_stack([np.full(100, 0.5), np.full(100, -0.25)]), subtype="FLOAT")
    np.testing.assert_allclose(read(path, "audio").samples, 0.125)  # type: ignore[union-attr]


def test_a_chunk_before_the_data_is_passed_over(tmp_path: Path) -> None:
    data = write_wav(tmp_path / "a.wav").read_bytes()
    listed = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    longer = data[:4] + struct.pack("<I", len(data) - 8 + len(listed)) + data[8:36] + listed + data[36:]
    path = tmp_path / "b.wav"
    path.write_bytes(longer)
    assert len(read(path, "audio").samples) == 800  # type: ignore[union-attr]


def test_truncated_wav_names_file_and_byte_count(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "cut.wav")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadRecording, match=r"cut\.wav: truncated: the header promises 1600 bytes of sound, 956 are"):
        read(path, "audio")


def test_a_header_that_promises_a_thousand_million_frames_is_refused_at_once(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", 2 * 10**9)
    path.write_bytes(data)
    with pytest.raises(BadRecording, match="promises 2000000000 bytes of sound, 1600 are there"):
        read(path, "audio")


def test_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 40000), 8000)
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(BadRecording, match=r"a\.flac: (truncated: the header promises 40000|not readable)") as caught:
        read(path, "audio")
    assert "Internal" not in str(caught.value)


def test_a_flac_that_promises_four_thousand_million_samples_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", 4_000_000_000)
    path.write_bytes(data)
    with pytest.raises(BadRecording, match=r"a\.flac: not readable as FLAC: the file is damaged or cut short"):
        read(path, "audio")


@pytest.mark.parametrize("rate", [1, 999, 768_001, 0x7FFFFFFF])
def test_a_rate_that_no_microphone_has_is_refused_with_the_range(tmp_path: Path, rate: int) -> None:
    path = write_wav(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    with pytest.raises(BadRecording, match=rf"a rate of {rate:,} samples a second \(1,000 to 768,000 Hz can be read\)"):
        read(path, "audio")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zero length: the file is empty"),
        (b"RIFF\x04\0\0\0WAVE", "truncated: no data chunk in 12 bytes"),
        (b"this is something else", "not a WAV file: begins with b'this'"),
    ],
)
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(BadRecording, match=message):
        read(path, "audio")


def test_a_wav_without_samples_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(0))
    with pytest.raises(BadRecording, match="zero length: no samples"):
        read(path, "audio")


@pytest.mark.parametrize(("value", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_nan_and_infinity_are_named_with_their_sample(tmp_path: Path, value: float, name: str) -> None:
    samples = np.zeros(50, np.float32)
    samples[17] = value
    path = write_wav(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(BadRecording, match=f"samples: sample 17 is {name}"):
        read(path, "audio")


def test_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"unknown suffix '\.xyz' for audio \(known: \.wav, \.flac, \.mp3, "):
        read(tmp_path / "a.xyz", "audio")
