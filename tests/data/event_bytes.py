"""Event files byte by byte, as sensors write them and faery would not."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

HOUR = 3_600_000_000
HEADS = {2: b"% evt 2.0\n% geometry 640x480\n% end\n", 3: b"% evt 3.0\n% geometry 640x480\n% end\n"}

DAT_HEAD = b"% Version 2\n% Width 304\n% Height 240\n"

Event = tuple[int, int, int, int]  # t, x, y, p


def events_from(start: int, n: int = 500, step: int = 97) -> list[Event]:
    return [(start + step * k, (7 * k) % 640, (5 * k) % 480, k % 2) for k in range(n)]


def evt2_words(events: Iterable[Event]) -> list[int]:
    words, high = [], -1
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0xFFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return words


def evt3_words(events: Iterable[Event], late: int = 0) -> list[int]:
    """TIME_HIGH comes `late` us after it is due, as real sensors send it."""
    words, high = [], -1
    for t, x, y, p in events:
        if (t - late) >> 12 != high:
            high = (t - late) >> 12
            words.append(0x8000 | high & 0xFFF)
        words += [0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x]
    return words


def raw(version: int, words: Sequence[int], head: bytes = b"") -> bytes:
    return (head or HEADS[version]) + struct.pack(f"<{len(words)}{'I' if version == 2 else 'H'}", *words)


def evt21_bytes(events: Iterable[tuple[int, int, int, int, int]], legacy: bool) -> bytes:
    """Words of (t, x of the first pixel, y, p, bits of 32 pixels)."""
    words: list[tuple[int, int]] = []
    high = -1
    for t, x, y, p, bits in events:
        if t >> 6 != high:
            high = t >> 6
            words.append((8 << 28 | high, 0))
        words.append((p << 28 | (t & 63) << 22 | x << 11 | y, bits))
    order = "legacy" if legacy else "little"
    head = f"% evt 2.1\n% format EVT21;endianness={order};height=320;width=320\n% end\n".encode()
    return head + b"".join(struct.pack("<II", *(pair if legacy else reversed(pair))) for pair in words)


def aedat2_bytes(words: Sequence[tuple[int, int]], chip: str = "DVS128") -> bytes:
    head = f"#!AER-DAT2.0\r\n# created 2015\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.{chip}\r\n"
    return head.encode() + np.array(words, ">u4").tobytes()


def aedat3_bytes(
    packets: Sequence[Sequence[tuple[int, int, int, int, int]]], chip: str = "DVS128", overflow: int = 0
) -> bytes:
    """Packets of polarity events (t, x, y, p, valid), each followed by a special packet."""
    data = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    for packet in packets:
        data += struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, len(packet), len(packet), len(packet))
        for t, x, y, p, valid in packet:
            data += struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t)
        data += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)
    return data


def dat_bytes(
    events: Iterable[Event], kind: int = 0, head: bytes = b"% Version 2\n% Width 304\n% Height 240\n"
) -> bytes:
    words = [(t, p << 28 | y << 14 | x) for t, x, y, p in events]
    return head + bytes([kind, 8]) + np.array(words, "<u4").tobytes()
