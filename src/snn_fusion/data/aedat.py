"""What faery does not check in AEDAT4 files: that they are whole, and the times as they stand in the file.

faery lifts a time that goes back to the time before it, and reads the header without looking where its offsets lead.
Format: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snn_fusion.errors import BadRecording

MAGIC = b"#!AER-DAT4.0\r\n"
CODECS = {0: None, 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "?"), ("", "V3")])


class _Damaged(Exception):
    """What is wrong, without the file's name."""


def aedat_times(path: Path, data: bytes) -> npt.NDArray[np.int64]:
    """Times (us) of all events of the first event stream, (events,), as they stand in the file.

    Raises BadRecording if the file is cut short or an offset in it leads out of its packet.
    """
    try:
        return _times(data)
    except _Damaged as error:
        raise BadRecording(path, f"not readable as {path.suffix}: {error}") from None


def _times(data: bytes) -> npt.NDArray[np.int64]:
    if not data.startswith(MAGIC):
        raise _Damaged(f"begins with {data[: len(MAGIC)]!r}")
    start = len(MAGIC) + 4
    position = start + _number("<I", data, start - 4)
    codec, table = _io_header(_part(data, start, position))
    if table >= 0:  # else it was not closed: packets up to the end
        if table >= len(data):
            raise _Damaged(f"truncated: the header promises a table at byte {table}, {len(data)} bytes are there")
        _unpack(data[table:], codec)
    end = table if table >= 0 else len(data)
    streams: dict[int, list[npt.NDArray[np.int64]]] = {}
    while position < end:
        stream, body = _number("<i", data, position), position + 8
        position = body + _number("<I", data, position + 4)
        packet = _unpack(_part(data, body, position), codec, b"EVTS")
        if packet is not None:
            streams.setdefault(stream, []).append(_packet_times(packet))
    return np.concatenate(streams[min(streams)]) if streams else np.zeros(0, np.int64)


def _number(form: str, data: bytes, at: int) -> int:
    number: int = struct.unpack(form, _part(data, at, at + struct.calcsize(form)))[0]
    return number


def _part(data: bytes, start: int, end: int) -> bytes:
    if not 0 <= start <= end <= len(data):
        raise _Damaged(f"truncated or damaged: bytes {start} to {end} are wanted, {len(data)} are there")
    return data[start:end]


def _field(data: bytes, root: int, n: int) -> int | None:
    """Where the field `n` of the flatbuffer table that `root` points to begins, None if it is left out."""
    table = root + _number("<I", data, root)
    layout = table - _number("<i", data, table)
    if 4 + 2 * n >= _number("<H", data, layout):
        return None
    offset = _number("<H", data, layout + 4 + 2 * n)
    return table + offset if offset else None


def _io_header(header: bytes) -> tuple[str | None, int]:
    """The compression and where the table of packets begins, -1 if there is none."""
    compression, table, text = (_field(header, 0, n) for n in range(3))
    number = 0 if compression is None else _number("<i", header, compression)
    if number not in CODECS:
        raise _Damaged(f"header: unknown compression {number}")
    if text is None:
        raise _Damaged("header: no description of the streams")
    length_at = text + _number("<I", header, text)
    description = _part(header, length_at + 4, length_at + 4 + _number("<I", header, length_at))
    try:
        description.decode()
    except UnicodeDecodeError as error:
        raise _Damaged(f"header: the description of the streams is not UTF-8: {error}") from None
    return CODECS[number], -1 if table is None else _number("<q", header, table)


def _unpack(packed: bytes, codec: str | None, kind: bytes = b"") -> bytes | None:
    """The content of a packet, None if it is of another kind."""
    try:
        source = pa.BufferReader(packed)
        with source if codec is None else pa.CompressedInputStream(source, codec) as stream:
            packet: bytes = stream.read(12)
            if kind and packet[8:] != kind:
                return None
            packet += stream.read()
    except (pa.ArrowException, OSError) as error:
        raise _Damaged(f"truncated or damaged: a packet cannot be unpacked: {error}") from None
    _part(packet, 0, 4 + _number("<I", packet, 0))
    return packet


def _packet_times(packet: bytes) -> npt.NDArray[np.int64]:
    elements = _field(packet, 4, 0)
    if elements is None:
        return np.zeros(0, np.int64)
    first = elements + _number("<I", packet, elements) + 4
    count = _number("<I", packet, first - 4)
    events = np.frombuffer(_part(packet, first, first + count * _EVENT.itemsize), _EVENT)
    return events["t"].astype(np.int64)
