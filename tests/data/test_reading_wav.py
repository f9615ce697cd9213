"""WAV as recorders leave it: every sample that is there is read, with a remark, or the true reason is given."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from snn_fusion.data.readers import read
from snn_fusion.data.recording import Audio
from snn_fusion.errors import BadRecording
from tests.data.wav_files import TONE, chunk, form, long_form, riff, tone_with

SAMPLES = TONE / np.float32(32768)


def read_bytes(tmp_path: Path, data: bytes, name: str = "a.wav") -> Audio:
    (tmp_path / name).write_bytes(data)
    audio = read(tmp_path / name, "audio")
    assert isinstance(audio, Audio)
    return audio


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 4000, 15_998])
def test_a_length_that_was_never_filled_in_loses_no_sample(tmp_path: Path, size: int) -> None:
    audio = read_bytes(tmp_path, tone_with(size))
    np.testing.assert_array_equal(audio.samples, SAMPLES)
    (remark,) = audio.remarks
    assert "length of the sound" in remark and "all 16,000 bytes to the end of the file were read" in remark


def test_a_stream_that_ends_within_a_sample_is_cut_to_whole_ones(tmp_path: Path) -> None:
    audio = read_bytes(tmp_path, tone_with(0)[:-1])
    np.testing.assert_array_equal(audio.samples, SAMPLES[:-1])


BEHIND = [
    chunk(b"LIST", b"INFO"),
    chunk(b"id3 ", b"ID3\3" + bytes(17)),
    b"TAG" + bytes(125),
    bytes(3),
    b"LIST\xff\0\0\0x",
]


@pytest.mark.parametrize("after", BEHIND)
def test_what_follows_the_sound_is_not_taken_for_sound(tmp_path: Path, after: bytes) -> None:
    audio = read_bytes(tmp_path, tone_with(16_000, after))
    np.testing.assert_array_equal(audio.samples, SAMPLES)
    assert audio.remarks == ()


def test_a_length_of_0_with_metadata_behind_it_is_an_empty_recording(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="zero length: no samples"):
        read_bytes(tmp_path, riff(form(), chunk(b"data", b""), chunk(b"LIST", b"INFO")))


def test_two_data_chunks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="has two data chunks"):
        read_bytes(tmp_path, tone_with(16_000, chunk(b"data", TONE.tobytes())))


@pytest.mark.parametrize(("pad", "remarks"), [(True, 0), (False, 1)])
def test_an_odd_chunk_may_lack_its_padding_byte(tmp_path: Path, pad: bool, remarks: int) -> None:
    listed = chunk(b"LIST", b"INFOINAM\3\0\0\0abc", pad=pad)
    audio = read_bytes(tmp_path, riff(form(), listed, chunk(b"data", TONE.tobytes())))
    np.testing.assert_array_equal(audio.samples, SAMPLES)
    assert len(audio.remarks) == remarks


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_rf64_and_bw64_are_read(tmp_path: Path, magic: bytes) -> None:
    np.testing.assert_array_equal(read_bytes(tmp_path, long_form(magic, 16_000)).samples, SAMPLES)
    with pytest.raises(BadRecording, match="promises 20000 bytes of sound, 16000 are there"):
        read_bytes(tmp_path, long_form(magic, 20_000))


def test_24_bits_in_32_keep_their_level(tmp_path: Path) -> None:
    guid = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    extensible = form(0xFFFE, 1, 8000, 32, struct.pack("<HHI", 22, 24, 4) + guid)
    body = (TONE.astype("<i4") << 16).tobytes()
    np.testing.assert_array_equal(read_bytes(tmp_path, riff(extensible, chunk(b"data", body))).samples, SAMPLES)


def test_a_chunk_that_is_none_is_named_with_its_byte(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="damaged: byte 36 should begin a chunk"):
        read_bytes(tmp_path, riff(form(), b"\0\1\2\3\4\5\6\7"))
    with pytest.raises(BadRecording, match="no whole fmt chunk before the sound"):
        read_bytes(tmp_path, riff(chunk(b"data", TONE.tobytes())))


def test_a_codec_that_is_not_known_is_named_by_its_tag(tmp_path: Path) -> None:
    with pytest.raises(
        BadRecording, match=r"format tag 0x0161\) \(convert it: ffmpeg -i a\.wav -ac 1 a-converted\.wav"
    ):
        read_bytes(tmp_path, riff(form(0x161), chunk(b"data", TONE.tobytes())))


@pytest.mark.parametrize(("scale", "divisor"), [(32768, 32768), (1 << 23, 1 << 23)])
def test_float_sound_in_the_range_of_integers_is_scaled_back(tmp_path: Path, scale: int, divisor: int) -> None:
    body = (SAMPLES * np.float32(scale)).astype("<f4")
    audio = read_bytes(tmp_path, riff(form(3, bits=32), chunk(b"data", body.tobytes())))
    np.testing.assert_array_equal(audio.samples, body / np.float32(divisor))
    assert "the range of" in audio.remarks[0]


def test_float_sound_beyond_full_scale_is_scaled_down_to_it(tmp_path: Path) -> None:
    body = (SAMPLES * np.float32(3)).astype("<f4")
    audio = read_bytes(tmp_path, riff(form(3, bits=32), chunk(b"data", body.tobytes())))
    assert np.abs(audio.samples).max() == 1
    np.testing.assert_allclose(audio.samples, SAMPLES / np.abs(SAMPLES).max(), atol=1e-6)
    assert audio.remarks == ("samples reach 1.1, beyond full scale (1): scaled down to it",)


def test_channels_that_cancel_each_other_are_not_mixed(tmp_path: Path) -> None:
    body = np.column_stack([TONE, -TONE]).tobytes()
    audio = read_bytes(tmp_path, riff(form(channels=2), chunk(b"data", body)))
    np.testing.assert_array_equal(audio.samples, SAMPLES)
    assert audio.remarks == ("the channels cancel each other (one is inverted): channel 1 alone was read",)


def test_a_dead_channel_does_not_halve_the_sound(tmp_path: Path) -> None:
    body = np.column_stack([np.zeros_like(TONE), TONE]).tobytes()
    audio = read_bytes(tmp_path, riff(form(channels=2), chunk(b"data", body)))
    np.testing.assert_array_equal(audio.samples, SAMPLES)
    assert audio.remarks == ("channel 1 of 2 is silent and was left out",)


def test_channels_that_have_nothing_in_common_are_averaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, (4000, 64)).astype("<i2")
    audio = read_bytes(tmp_path, riff(form(channels=64), chunk(b"data", noise.tobytes())))
    np.testing.assert_allclose(audio.samples, (noise / 32768).mean(axis=1), atol=1e-6)
    assert audio.remarks == ()


@pytest.mark.parametrize(("suffix", "subtype"), [(".mp3", None), (".ogg", "VORBIS"), (".ogg", "OPUS"), (".flac", None)])
@pytest.mark.parametrize("name", ["a", "a.wav"])
def test_what_libsndfile_reads_is_taken_by_its_content(
    tmp_path: Path, suffix: str, subtype: str | None, name: str
) -> None:
    tone = 0.4 * np.sin(np.arange(16_000) / 7)
    path = tmp_path / f"b{suffix}"
    soundfile.write(path, tone, 16_000, subtype=subtype)
    audio = read_bytes(tmp_path, path.read_bytes(), name if name == "a.wav" else path.name)
    assert (len(audio.samples), audio.rate) == (16_000, 16_000)
    assert abs(np.corrcoef(audio.samples, tone)[0, 1]) > 0.99
    assert len(audio.remarks) == (name == "a.wav")


@pytest.mark.parametrize("cut", [1, 300, 0.5])
@pytest.mark.parametrize(("suffix", "subtype"), [(".mp3", None), (".ogg", "VORBIS"), (".ogg", "OPUS")])
def test_compressed_sound_that_is_cut_short_is_refused(
    tmp_path: Path, suffix: str, subtype: str | None, cut: float
) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, 0.4 * np.sin(np.arange(16_000) / 7), 16_000, subtype=subtype)
    data = path.read_bytes()
    with pytest.raises(BadRecording, match=r"truncated|not readable"):
        read_bytes(tmp_path, data[: -int(cut if cut >= 1 else cut * len(data))], path.name)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1aE\xdf\xa3", "WebM or Matroska"),
        (b"\0\0\0\x1cftypM4A ", "MP4 (AAC)"),
        (b"\xff\xf1P\x80", "AAC"),
        (b"#!AMR\n", "AMR"),
        (b"caff\0\1", "CAF"),
        (b"FORM\0\0\0\0AIFF", "AIFF"),
    ],
)
def test_other_formats_are_named_with_the_command_that_converts_them(tmp_path: Path, head: bytes, kind: str) -> None:
    with pytest.raises(BadRecording) as caught:
        read_bytes(tmp_path, head + bytes(400), "take 1.wav")
    assert f"the file holds {kind}, which cannot be read as audio" in str(caught.value)
    assert "ffmpeg -i 'take 1.wav' -ac 1 'take 1-converted.wav'" in caught.value.remedy


def test_silence_packed_beyond_reason_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn_fusion.data.sound.MAX_SAMPLES", 1 << 20)
    path = tmp_path / "bomb.flac"
    soundfile.write(path, np.zeros((1 << 18, 8), np.int16), 8000)
    with pytest.raises(BadRecording, match=r"more than 1,048,576 samples in all channels \(cut it into recordings"):
        read(path, "audio")
    assert path.stat().st_size < 20_000


WHOLE = {
    "wav": tone_with(16_000, chunk(b"LIST", b"INFOabc")),
    "rf64": long_form(b"RF64", 16_000),
    "float": riff(form(3, bits=32), chunk(b"data", SAMPLES[:900].astype("<f4").tobytes())),
    "stereo": riff(form(channels=2), chunk(b"data", TONE[:900].tobytes())),
}


@given(
    st.sampled_from(sorted(WHOLE)),
    st.integers(0, 2**16),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
)
def test_whatever_is_cut_or_changed_gives_a_signal_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, name: str, cut: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE[name][: max(1, len(WHOLE[name]) - cut % len(WHOLE[name]))])
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(data)
    try:
        audio = read(path, "audio")
    except BadRecording:
        return
    assert isinstance(audio, Audio) and len(audio.samples) and np.isfinite(audio.samples).all()
    assert np.abs(audio.samples).max() <= 1
