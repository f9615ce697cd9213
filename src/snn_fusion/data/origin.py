"""The origin of time: a recording begins with its own first time stamp, whatever its sensors' clock said then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Audio, Events, Sense, Signal

STAMPED: frozenset[Sense] = frozenset({"events", "imu"})  # senses whose samples carry their time
MOST_APART_US = 60_000_000  # between the first time stamps of a recording's senses, if one clock gave them


def stamps(signal: Signal) -> npt.NDArray[np.int64]:
    """The times of the samples, us; none of a sound, which has a rate instead."""
    if isinstance(signal, Audio):
        return np.zeros(0, np.int64)
    return signal.events["t"] if isinstance(signal, Events) else signal.t


def earlier(signal: Signal, us: int) -> Signal:
    """The same signal with all time stamps `us` earlier. A sound has none."""
    if isinstance(signal, Audio) or not us:
        return signal
    if isinstance(signal, Events):
        events = signal.events.copy()
        events["t"] -= us
        return replace(signal, events=events)
    return replace(signal, t=signal.t - us)


def offsets(firsts: Mapping[Sense, int]) -> dict[Sense, int]:
    """What to subtract from each sense's time stamps, us, given the first of each.

    It is the earliest of them for all senses, so that the time between the senses stays; where the senses have
    `different_clocks`, each sense's own.
    """
    if different_clocks(firsts):
        return dict(firsts)
    return dict.fromkeys(firsts, min(firsts.values(), default=0))


def different_clocks(firsts: Mapping[Sense, int]) -> str | None:
    """What to say where the first time stamps lie too far apart for one clock: one counts from 0, another from 1970."""
    if not firsts:
        return None
    ahead, behind = max(firsts, key=firsts.__getitem__), min(firsts, key=firsts.__getitem__)
    apart = firsts[ahead] - firsts[behind]
    if apart <= MOST_APART_US:
        return None
    return (
        f"the first time stamp of {ahead} is {apart / 1e6:,.0f} s after that of {behind}: the two are taken for "
        "different clocks, and each sense begins with its own first sample"
    )


def from_first(signals: Mapping[Sense, Signal]) -> dict[Sense, Signal]:
    """One recording's signals, with its first time stamp at 0 and the time between the senses as it was.

    A sound has no time stamps; it begins at 0. If the senses have different clocks, all with time stamps say so in a
    remark.
    """
    firsts: dict[Sense, int] = {s: int(times[0]) for s, one in signals.items() if len(times := stamps(one))}
    shift, remark = offsets(firsts), different_clocks(firsts)
    return {
        sense: earlier(_remarked(one, remark if sense in firsts else None), shift.get(sense, 0))
        for sense, one in signals.items()
    }


def _remarked(signal: Signal, remark: str | None) -> Signal:
    return replace(signal, remarks=(*signal.remarks, remark)) if remark else signal
