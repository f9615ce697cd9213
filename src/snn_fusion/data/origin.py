"""The origin of time: a recording begins with its own first time stamp, whatever its sensors' clock said then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_fusion.data.recording import Audio, Events, Sense, Signal

STAMPED: frozenset[Sense] = frozenset({"events", "imu"})  # senses whose samples carry their time


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


def from_first(signals: Mapping[Sense, Signal]) -> dict[Sense, Signal]:
    """One recording's signals, with its first time stamp at 0.

    One offset is taken from all senses that have time stamps, so that what lay between them stays. A sound has none;
    it begins at 0.
    """
    firsts = [int(times[0]) for one in signals.values() if len(times := stamps(one))]
    return {sense: earlier(one, min(firsts, default=0)) for sense, one in signals.items()}
