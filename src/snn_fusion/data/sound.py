"""Audio files: WAV and FLAC through libsndfile, as mono."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

from snn_fusion.data.recording import Audio
from snn_fusion.errors import BadRecording

RATES = (1_000, 768_000)  # samples a second; a damaged header may say anything
BLOCK = 1 << 20  # frames read at once: a header that promises 10^9 frames allocates nothing


def read_sound(path: Path) -> Audio:
    """Read a WAV or FLAC file; several channels are averaged to one.

    Raises BadRecording if the file is truncated, empty, not audio, holds NaN or infinity, or its header gives a rate
    that no microphone has.
    """
    if path.stat().st_size == 0:
        raise BadRecording(path, "zero length: the file is empty")
    if path.suffix.lower() == ".wav":
        _check_wav(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, promised = file.samplerate, file.frames
            if not RATES[0] <= rate <= RATES[1]:
                remedy = f"{RATES[0]:,} to {RATES[1]:,} Hz can be read"
                raise BadRecording(path, f"the header gives a rate of {rate:,} samples a second", remedy)
            blocks = []
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block)
    except soundfile.LibsndfileError as error:
        inner = "internal" in error.error_string.lower()  # a step of libsndfile's own that failed, e.g. a seek
        reason = "the file is damaged or cut short" if inner else error.error_string
        raise BadRecording(path, f"not readable as audio: {reason}") from None
    frames = sum(map(len, blocks))
    if frames < promised:
        raise BadRecording(path, f"truncated: the header promises {promised} samples, {frames} can be read")
    if not frames:
        raise BadRecording(path, "zero length: no samples")
    with np.errstate(over="ignore"):  # infinity is refused below
        samples = (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)).mean(axis=1, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(samples))
    if len(wrong):
        raise BadRecording(path, f"samples: sample {wrong[0]} is {samples[wrong[0]]}")
    return Audio(samples, rate)


def _check_wav(path: Path) -> None:
    """libsndfile silently shortens a truncated WAV, so compare what the header promises with what is there."""
    size, long_form = path.stat().st_size, None
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
            raise BadRecording(path, f"not a WAV file: begins with {head[:4]!r}")
        order = ">" if head[:4] == b"RIFX" else "<"
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", chunk)
            start = file.tell()
            if name == b"ds64":  # RF64 keeps the real length of its sound here
                long_form = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
            if name == b"data":
                promised = long_form if long_form is not None and length == 0xFFFFFFFF else length
                if promised > size - start:
                    problem = f"truncated: the header promises {promised} bytes of sound, {size - start} are there"
                    raise BadRecording(path, problem)
                return
            file.seek(start + length + length % 2)
    raise BadRecording(path, f"truncated: no data chunk in {size} bytes")
