"""Audio files through libsndfile, as mono: WAV, FLAC, Ogg (Vorbis, Opus) and MP3."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from snn_fusion.data.contents import READABLE_SOUND, convert_sound, kind_of
from snn_fusion.data.recording import Audio
from snn_fusion.data.wav import whole_wave
from snn_fusion.errors import BadRecording

RATES = (1_000, 768_000)  # samples a second; a damaged header may say anything
BLOCK = 1 << 20  # samples of all channels read at once: a header that promises 10^9 frames allocates nothing
MAX_SAMPLES = 1 << 27  # of all channels, 46 minutes at 48 kHz; a few bytes of FLAC can hold more silence than memory
MAX_BYTES = 1 << 30
DEAD = 1e-3  # a channel this much quieter than the loudest (-60 dB) is not connected
CANCELLED = 0.2  # channels that know nothing of each other add up to 1/sqrt(n) of one; much less is cancellation
UNSCALED = 16.0  # float sound beyond this is in the range of integers; below, it is too loud

Samples = npt.NDArray[np.float32]


def read_sound(path: Path) -> Audio:
    """Read a sound; its content says the format. Several channels are averaged to one.

    `remarks` of what is returned say where the file was not as it should be: a length that was never filled in,
    channels that cancel each other, samples beyond full scale. Raises BadRecording if the file is truncated, empty,
    not audio that can be read, holds NaN or infinity, or its header gives a rate that no microphone has.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadRecording(path, "zero length: the file is empty")
    with path.open("rb") as file:
        head = file.read(16)
    kind = kind_of(head)
    if kind not in READABLE_SOUND:
        if kind is None:
            raise BadRecording(path, f"not a {path.suffix[1:].upper()} file: begins with {head[:4]!r}")
        raise BadRecording(path, f"the file holds {kind}, which cannot be read as audio", convert_sound(path))
    if size > MAX_BYTES:
        raise BadRecording(path, f"{size:,} bytes, more than {MAX_BYTES:,}", "cut it into recordings")
    rate, channels, is_float, remarks = _decode(path, kind)
    if kind.lower() != path.suffix[1:].lower().replace("oga", "ogg").replace("opus", "ogg"):
        remarks = (f"the file holds {kind}, not {path.suffix}", *remarks)
    channels, scaled = _to_full_scale(path, channels, is_float)
    samples, mixed = _mono(channels)
    return Audio(samples, rate, (*remarks, *scaled, *mixed))


def _decode(path: Path, kind: str) -> tuple[int, Samples, bool, tuple[str, ...]]:
    """The rate, the samples (n, channels), whether they were stored as floats, and remarks."""
    source: Path | io.BytesIO = path
    coded = ""
    remarks: tuple[str, ...] = ()
    if kind == "WAV":
        wave = whole_wave(path, path.read_bytes())
        source, coded, remarks = io.BytesIO(wave.file), f" (format tag {wave.tag:#06x})", wave.remarks
    elif kind == "Ogg":
        _check_ogg(path)
    try:
        with soundfile.SoundFile(source) as file:
            rate, promised, is_float = file.samplerate, file.frames, file.subtype in ("FLOAT", "DOUBLE")
            if not RATES[0] <= rate <= RATES[1]:
                remedy = f"{RATES[0]:,} to {RATES[1]:,} Hz can be read"
                raise BadRecording(path, f"the header gives a rate of {rate:,} samples a second", remedy)
            samples = _blocks(path, file)
    except soundfile.LibsndfileError as error:
        inner = "internal" in error.error_string.lower()  # a step of libsndfile's own that failed, e.g. a seek
        reason = "the file is damaged or cut short" if inner else error.error_string
        what = "audio" if kind == "WAV" else kind
        raise BadRecording(path, f"not readable as {what}: {reason}{coded}", convert_sound(path)) from None
    if len(samples) < promised:
        raise BadRecording(path, f"truncated: the header promises {promised} samples, {len(samples)} can be read")
    if not len(samples):
        raise BadRecording(path, "zero length: no samples")
    return rate, samples, is_float, remarks


def _blocks(path: Path, file: soundfile.SoundFile) -> Samples:
    blocks: list[Samples] = []
    left = MAX_SAMPLES // file.channels
    while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
        blocks.append(block)
        left -= len(block)
        if left < 0:
            raise BadRecording(path, f"more than {MAX_SAMPLES:,} samples in all channels", "cut it into recordings")
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros((0, file.channels), np.float32)


def _check_ogg(path: Path) -> None:
    """libsndfile silently shortens a truncated Ogg stream, or finds nothing in it."""
    data = path.read_bytes()
    last = data.rfind(b"OggS")
    lengths = data[last + 27 : last + 27 + data[last + 26]] if len(data) > last + 26 else b""
    if not lengths or len(data) < last + 27 + len(lengths) + sum(lengths) or not data[last + 5] & 4:
        raise BadRecording(path, "truncated: the last page of the Ogg stream is missing", convert_sound(path))


def _to_full_scale(path: Path, samples: Samples, is_float: bool) -> tuple[Samples, list[str]]:
    """Float samples within [-1, 1]. Raises BadRecording for NaN, infinity and numbers of no scale."""
    finite = np.isfinite(samples)
    if not finite.all():
        frame, channel = np.argwhere(~finite)[0]
        raise BadRecording(path, f"samples: sample {frame} is {samples[frame, channel]}")
    peak = float(np.abs(samples).max())
    if peak <= 1:
        return samples, []
    if peak <= UNSCALED:
        remark = f"samples reach {peak:.3g}, beyond full scale (1): scaled down to it"
        return samples / np.float32(peak), [remark] if is_float else []  # decoders of MP3 and Ogg overshoot a little
    for bits in (16, 24, 32):
        if peak <= 1 << (bits - 1):
            scale = np.float32(1 << (bits - 1))
            return samples / scale, [f"float samples reach {peak:.6g}, the range of {bits}-bit integers: divided by it"]
    raise BadRecording(path, f"samples: they reach {peak:.3g}", "scale them to [-1, 1]")


def _mono(channels: Samples) -> tuple[Samples, list[str]]:
    """The mean of the channels (n, channels), without those that are dead; one alone where they cancel."""
    if channels.shape[1] == 1:
        return channels.mean(axis=1, dtype=np.float32), []
    remarks = []
    level = channels.std(axis=0, dtype=np.float64)
    alive = level > DEAD * level.max()
    if level.max() > 0 and not alive.all():
        dead = ", ".join(str(n + 1) for n in np.flatnonzero(~alive))
        remarks.append(f"channel {dead} of {len(level)} is silent and was left out")
        channels, level = channels[:, alive], level[alive]
    mixed: Samples = channels.mean(axis=1, dtype=np.float32)
    if mixed.std(dtype=np.float64) < CANCELLED / np.sqrt(len(level)) * level.max():
        loudest = int(level.argmax())
        remarks.append(f"the channels cancel each other (one is inverted): channel {loudest + 1} alone was read")
        mixed = np.ascontiguousarray(channels[:, loudest])
    return mixed, remarks
