"""What faery does not check in Prophesee's .raw and .dat files: whole words, and the times as they stand in the file.

faery lifts a time that goes back to the time before it, so that disorder cannot be seen in what it returns.
Formats: https://docs.prophesee.ai/stable/data/encoding_formats and .../data/file_formats/dat.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadRecording

Times = npt.NDArray[np.int64]
_EVT_WORD = {"2": "<u4", "3": "<u2"}


def raw_times(path: Path, data: bytes) -> Times:
    """Times (us) of all events of an EVT2 or EVT3 file, (events,); its counter's wraps are undone, disorder is not.

    Raises BadRecording if the file ends in the middle of a word or is of another version.
    """
    start, version = _header(data)
    version = version.upper().removeprefix("EVT").removesuffix(".0") or "3"
    if version not in _EVT_WORD:
        raise BadRecording(path, f"EVT version {version!r} cannot be read", "convert it to EVT2 or EVT3")
    words = _words(path, data, start, _EVT_WORD[version])
    return _evt2(words) if version == "2" else _evt3(words)


def dat_times(path: Path, data: bytes) -> Times:
    """Times (us) of all events of a DAT file, (events,); its counter's wraps are undone, disorder is not."""
    start, _ = _header(data)
    words = _words(path, data, start + 2, "<u8")  # event type and event size, then events
    return _unwrap(words & np.uint64(0xFFFFFFFF), 32)


def _header(data: bytes) -> tuple[int, str]:
    """Where the lines that begin with % end, and the version they give ('' if none)."""
    start, version, line = 0, "", b""
    while data[start : start + 1] == b"%" and line.strip() != b"% end" and (end := data.find(b"\n", start)) >= 0:
        line = data[start : end + 1]
        words = line[1:].decode(errors="replace").replace(";", " ").split()
        if len(words) > 1 and words[0] in ("Version", "format", "evt"):
            version = words[1]
        start = end + 1
    return start, version


def _words(path: Path, data: bytes, start: int, dtype: str) -> npt.NDArray[np.unsignedinteger]:
    size, length = np.dtype(dtype).itemsize, max(0, len(data) - start)
    if rest := length % size:
        raise BadRecording(path, f"truncated: {rest} bytes of a {size}-byte word at the end")
    return np.frombuffer(data, dtype, length // size, start) if length else np.zeros(0, dtype)


def _unwrap(counts: npt.NDArray[np.unsignedinteger], bits: int) -> Times:
    """A counter begins anew where it steps from its last quarter to its first; any other step back is left."""
    count = counts.astype(np.int64)
    wraps = (count[:-1] >= 3 << (bits - 2)) & (count[1:] < 1 << (bits - 2))
    count[1:] += np.cumsum(wraps) << bits
    return count


def _evt2(words: npt.NDArray[np.unsignedinteger]) -> Times:
    kind = words >> 28
    is_event, is_high = kind <= 1, kind == 8
    high = np.concatenate([[0], _unwrap(words[is_high] & 0xFFFFFFF, 28)])
    times: Times = high[np.cumsum(is_high)[is_event]] << 6 | (words[is_event] >> 22 & 0x3F)
    return times


def _evt3(words: npt.NDArray[np.unsignedinteger]) -> Times:
    kind = words >> 12
    is_high, is_low, value = kind == 8, kind == 6, words & 0xFFF
    high = np.concatenate([[0], _unwrap(value[is_high], 12)])
    changed = is_high.copy()
    changed[is_high] = high[1:] != high[:-1]
    position = np.arange(len(words))
    last_low = np.maximum.accumulate(np.where(is_low, position, -1)) if len(words) else position
    last_high = np.maximum.accumulate(np.where(changed, position, -1)) if len(words) else position
    low = np.where(last_low > last_high, value[last_low], 0)  # a new high part begins at low part 0
    single, twelve, eight = kind == 2, kind == 4, kind == 5
    bits = np.bitwise_count(np.where(twelve, value, np.where(eight, value & 0xFF, 0)))  # an event a bit set
    times: Times = np.repeat(high[np.cumsum(is_high)] << 12 | low, np.where(single, 1, bits))
    return times
