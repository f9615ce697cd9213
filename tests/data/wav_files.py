"""WAV files byte by byte, as recorders write them and soundfile would not."""

from __future__ import annotations

import struct

import numpy as np

TONE = np.round(12_000 * np.sin(np.arange(8000) / 9)).astype("<i2")


def chunk(name: bytes, body: bytes, size: int | None = None, pad: bool = True) -> bytes:
    length = len(body) if size is None else size
    return name + struct.pack("<I", length) + body + (b"\0" if pad and len(body) % 2 else b"")


def form(tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, extra: bytes = b"") -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + extra)


def riff(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if size is None else size) + body


def tone_with(size: int, *after: bytes) -> bytes:
    """A second of a tone whose data chunk promises `size` bytes, and what comes after it."""
    return riff(form(), chunk(b"data", TONE.tobytes(), size), *after)


def long_form(magic: bytes, length: int) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, length, 8000, 0))
    return riff(sizes, form(), chunk(b"data", TONE.tobytes(), 0xFFFFFFFF), size=0xFFFFFFFF, magic=magic)
