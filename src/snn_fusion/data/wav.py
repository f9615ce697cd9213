"""WAV files as recorders leave them: lengths that were never filled in, chunks without padding, RF64 and BW64.

libsndfile believes the header, so what it is given is a header that says what is there.
Format: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html and EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from snn_fusion.errors import BadRecording

STREAMED = 0x7FFF0000  # lengths from here on are placeholders of recorders that write into a pipe
MAX_CHUNKS = 10_000
_METADATA = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"fact", b"PEAK", b"JUNK", b"junk", b"inst")


class Wave(NamedTuple):
    """A WAV file whose header is right, its format tag, and what was remarkable about the original."""

    file: bytes
    tag: int
    remarks: tuple[str, ...]


def whole_wave(path: Path, data: bytes) -> Wave:
    """The sound of a RIFF, RIFX, RF64 or BW64 file behind a header that gives its true length.

    Raises BadRecording if the file is cut short, damaged, or has more than one data chunk.
    """
    order = ">" if data[:4] == b"RIFX" else "<"
    at, form, long_form = 12, b"", None
    remarks: list[str] = []
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            raise BadRecording(path, f"truncated: no data chunk in {len(data)} bytes")
        name, length = struct.unpack_from(f"{order}4sI", data, at)
        start, end = at + 8, at + 8 + length
        if name == b"data":
            return _wave(path, data, order, form, _sound(path, data, order, start, length, long_form), remarks)
        if not _is_name(name):
            raise BadRecording(path, f"damaged: byte {at} should begin a chunk, it holds {name!r}")
        if name == b"fmt ":
            form = data[start:end]
        elif name == b"ds64" and length >= 16 and end <= len(data):
            long_form = struct.unpack_from("<Q", data, start + 8)[0]
        at = end + length % 2
        if length % 2 and not _is_chunk(data, order, at) and _is_chunk(data, order, end):
            at = end
            remarks.append(f"chunk {name.decode()!r} of odd length has no padding byte")
    raise BadRecording(path, f"damaged: more than {MAX_CHUNKS} chunks before the sound")


def _wave(path: Path, data: bytes, order: str, form: bytes, sound: tuple[bytes, str], remarks: list[str]) -> Wave:
    if len(form) < 16:
        raise BadRecording(path, "damaged: no whole fmt chunk before the sound")
    body, remark = sound
    align = struct.unpack_from(f"{order}H", form, 12)[0]
    if remark:
        body = body[: len(body) // align * align] if align else body
        remarks = [*remarks, remark]
    tag = struct.unpack_from(f"{order}H", form)[0]
    if tag == 0xFFFE and len(form) >= 26:
        tag = struct.unpack_from(f"{order}H", form, 24)[0]
    chunks = b"WAVE" + _chunk(order, b"fmt ", form) + _chunk(order, b"data", body)
    magic = b"RIFX" if order == ">" else b"RIFF"
    return Wave(magic + struct.pack(f"{order}I", len(chunks)) + chunks, tag, tuple(remarks))


def _chunk(order: str, name: bytes, body: bytes) -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + b"\0" * (len(body) % 2)


def _sound(path: Path, data: bytes, order: str, start: int, length: int, long_form: int | None) -> tuple[bytes, str]:
    """The bytes of the data chunk that begins at `start`, and a remark if its length was not to be believed."""
    promised = long_form if long_form is not None and length == 0xFFFFFFFF else length
    there = len(data) - start
    end = start + promised
    if promised > there and promised >= STREAMED:
        what = f"the header gives {promised:#x} for the length of the sound, as recorders that write into a pipe do"
        return data[start:], f"{what}: all {there:,} bytes to the end of the file were read"
    if promised > there:
        raise BadRecording(path, f"truncated: the header promises {promised} bytes of sound, {there} are there")
    if not there or _only_metadata(path, data, order, end) or _only_metadata(path, data, order, end + promised % 2):
        return data[start:end], ""
    what = f"the header gives {promised:,} bytes for the length of the sound, its recorder did not fill that in"
    return data[start:], f"{what}: all {there:,} bytes to the end of the file were read"


def _only_metadata(path: Path, data: bytes, order: str, at: int) -> bool:
    """Whether what follows the sound is chunks, an ID3 tag or zeros. Raises BadRecording for more sound."""
    rest = data[at : at + 129]
    if rest[:3] == b"TAG" and len(rest) == 128:
        return True
    for _ in range(MAX_CHUNKS):
        if not data[at : at + 8].strip(b"\0"):
            return not data[at:].strip(b"\0")
        if not _is_chunk(data, order, at):
            return data[at : at + 4] in _METADATA
        name, length = struct.unpack_from(f"{order}4sI", data, at)
        if name == b"data":
            raise BadRecording(path, "has two data chunks", "write each sound to a file of its own")
        at += 8 + length
        at += length % 2 if length % 2 and not _is_chunk(data, order, at) else 0
    return False


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= one < 0x7F for one in name)


def _is_chunk(data: bytes, order: str, at: int) -> bool:
    """Whether a chunk begins here: a name and a length that lies within the file; of sound, any length."""
    if at + 8 > len(data):
        return False
    name, length = struct.unpack_from(f"{order}4sI", data, at)
    return _is_name(name) and (name == b"data" or at + 8 + length <= len(data))
