"""EVT3: 16-bit words that only say what changed: row, time, polarity, and vectors of 12 or 8 pixels.

Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import as_events, not_too_many
from snn_fusion.data.recording import EVENT

Words = npt.NDArray[np.integer]
Ints = npt.NDArray[np.int64]
ROW, ONE, BASE, TWELVE, EIGHT, LOW, HIGH = 0, 2, 3, 4, 5, 6, 8  # kinds of words
BLOCK = 1 << 18  # words at a time: 2 bytes of file take 200 of memory
LAST, FIRST = 3 << 10, 1 << 10  # the last quarter of 12 bits begins here, the first ends here


def read_evt3(path: Path, words: Words) -> tuple[npt.NDArray[np.void], int]:
    """The events, and how many came before the first time base, row, or base of a vector.

    Raises BadRecording for more events than memory should hold.
    """
    parts = [words[at : at + BLOCK] for at in range(0, len(words), BLOCK)]
    not_too_many(path, sum(int(_counts(part).sum()) for part in parts))
    found, early, state, high = [], 0, np.zeros(0, "<u2"), 0
    for part in parts:
        events, unknown, state, last = _block(np.concatenate([state, part]))
        events["t"] += high << 12
        high += last & ~0xFFF
        early += unknown
        found.append(events)
    return np.concatenate(found) if found else np.zeros(0, EVENT), early


def _counts(words: Words) -> Ints:
    """How many events each word holds."""
    kind = words >> 12
    bits = np.where(kind == TWELVE, words & 0xFFF, np.where(kind == EIGHT, words & 0xFF, 0))
    return np.where(kind == ONE, 1, np.bitwise_count(bits)).astype(np.int64)


def _block(words: Words) -> tuple[npt.NDArray[np.void], int, Words, int]:
    """The events of some words, how many could not be placed, words that bring the next block into this state, and
    the high part of the time at the end."""
    kind, value, counts = words >> 12, (words & 0xFFF).astype(np.int64), _counts(words)
    time, row, base = _times(kind, value), _latest(kind == ROW), _latest(kind == BASE)
    is_vector = (kind == TWELVE) | (kind == EIGHT)
    known = (time >= 0) & (row >= 0) & ~(is_vector & (base < 0))
    widths = np.where(kind == TWELVE, 12, np.where(kind == EIGHT, 8, 0))
    start = np.cumsum(widths) - widths
    shift = start - start[base]  # pixels of the vectors since their base, (words,)
    word = np.repeat(np.arange(len(words)), np.where(known, counts, 0))  # (events,)
    of_vector = is_vector[word]
    vector = word[of_vector]
    x, polarity = value[word] & 0x7FF, value[word] >> 11
    x[of_vector] = (value[base[vector]] & 0x7FF) + shift[vector] + _bits(kind, value, vector)
    polarity[of_vector] = value[base[vector]] >> 11
    events = as_events(time[word], x, value[row[word]] & 0x7FF, polarity)
    last = int(time[-1]) >> 12
    state = [] if last < 0 else [HIGH << 12 | (last & 0xFFF), LOW << 12 | (int(time[-1]) & 0xFFF)]
    if row[-1] >= 0:
        state.append(int(words[row[-1]]))
    if base[-1] >= 0:
        moved = min(0x7FF, int(value[base[-1]] & 0x7FF) + int(shift[-1] + widths[-1]))
        state.append(BASE << 12 | int(value[base[-1]] & 0x800) | moved)
    return events, int(counts[~known].sum()), np.array(state, "<u2"), max(last, 0)


def _bits(kind: Words, value: Ints, vector: Ints) -> Ints:
    """For each event of the vectors (indices of their words, a repetition an event), the position of its bit."""
    words = vector[np.concatenate([[True], vector[1:] != vector[:-1]])] if len(vector) else vector
    bits = np.where(kind[words] == TWELVE, value[words], value[words] & 0xFF)
    return np.nonzero(bits[:, None] >> np.arange(12) & 1)[1]


def _latest(holds: npt.NDArray[np.bool_]) -> Ints:
    """For each word, where the last one lies for which `holds`, -1 before the first."""
    return np.maximum.accumulate(np.where(holds, np.arange(len(holds)), -1)) if len(holds) else np.zeros(0, np.int64)


def _times(kind: Words, value: Ints) -> Ints:
    """Time (us) after each word, -1 before the first TIME_HIGH.

    A TIME_LOW that steps back into its first quarter under one TIME_HIGH has wrapped before the sensor sent the next
    TIME_HIGH, which then confirms it: if it does not, time goes back there. Other steps back are left as they are.
    """
    is_high, is_low = kind == HIGH, kind == LOW
    if not is_high.any():
        return np.full(len(kind), -1)
    highs = value[is_high].copy()
    highs[1:] += np.cumsum((highs[:-1] >= LAST) & (highs[1:] < FIRST)) << 12
    high = np.concatenate([[-1], highs])[np.cumsum(is_high)]  # (words,)
    changed = is_high & (high != np.concatenate([[-1], high[:-1]]))
    segment = np.cumsum(changed)
    carry = _carries(segment, is_low, value)
    before = np.concatenate([[-1], (high + carry)[:-1]])
    begins = changed & (high != before)  # not announced by a wrap: what follows has the low part 0 until told
    last_low, last_begin = _latest(is_low), _latest(begins)
    low = np.where(last_low > last_begin, value[last_low], 0)
    return np.where(high < 0, -1, (high + carry) << 12 | low)


def _carries(segment: Ints, is_low: npt.NDArray[np.bool_], value: Ints) -> Ints:
    """How often TIME_LOW has wrapped since TIME_HIGH last changed, (words,)."""
    where = np.flatnonzero(is_low)
    low, of = value[where], segment[where]
    wraps = np.zeros(len(segment), np.int64)
    wraps[where[1:]] = (low[1:] < low[:-1]) & (low[1:] < FIRST) & (of[:-1] == of[1:])
    total = np.cumsum(wraps)
    begin = np.searchsorted(segment, segment)  # the first word of the same segment
    return total - total[begin] + wraps[begin]
