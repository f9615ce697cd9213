"""The part of a recording that the network sees: one window for all senses, from where the signal begins.

All senses keep their time to each other: the window begins with the first sense that has an onset. A recording that
begins at once (within `encoding.onset.look_back_ms`), or in which no onset is found, is seen from its first sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from snn_fusion.config import EncodingParams
from snn_fusion.data.origin import STAMPED, different_clocks, earlier, offsets, stamps
from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding.activity import HOP_US, Activity, Float64
from snn_fusion.encoding.onset import Onset
from snn_fusion.encoding.stream import Stream, channels

Bools = npt.NDArray[np.bool_]
Rows = dict[Sense, Bools]  # (k, channels) of spikes for each sense
# How the window's beginning was found; `off`: encoding.onset is null.
Found = Literal["at once", "later", "not found", "off"]
ENOUGH = 0.99  # of what went on, for a window to hold it
LEAST_INSIDE = 0.01  # of what went on; a recording of which less lies in the window is outside it


@dataclass(frozen=True)
class Used:
    """What lies in the window: seconds from the recording's first sample, and the share of what went on.

    `share` is of a sound's energy, of a camera's events, of an IMU's movement; None where nothing went on at all.
    `needed_s` is how long a window would have to be, from the same beginning, to hold 99 % of it.
    """

    from_s: float
    to_s: float
    of_s: float
    share: float | None
    needed_s: float

    def body(self) -> dict[str, float | None]:
        seconds = {"from_s": self.from_s, "to_s": self.to_s, "of_s": self.of_s}
        share = None if self.share is None else round(self.share, 4)
        return {**{name: round(value, 6) for name, value in seconds.items()}, "share": share}


class Window:
    """A recording of these senses as it comes in, in parts of any size: rows of spikes of the window's steps.

    Until it is known where the window begins there are no rows; then those of all steps until now. Raises BadInput if
    a part does not fit the parameters. `only`: the senses that are to have rows (all).
    """

    def __init__(self, senses: Iterable[Sense], params: EncodingParams, only: Collection[Sense] | None = None) -> None:
        self.params, self.senses = params, tuple(senses)
        self.begin_us: int | None = None if params.onset else 0  # of the window, once it is known
        self.found: Found | None = None if params.onset else "off"
        self._ears = {sense: _Ear(sense, params, only is None or sense in only) for sense in self.senses}
        self.clocks: str | None = None  # what to say of senses whose clocks differ
        # What to subtract from each sense's time stamps, once it is known.
        self._offsets: dict[Sense, int] | None = None if STAMPED & set(self.senses) else {}
        self._early: list[tuple[Sense, Signal]] = []  # parts from before the first time stamp of all senses is known
        self._given: Rows = {}

    def push(self, parts: Mapping[Sense, Signal]) -> Rows:
        """The rows that are over with the next part of each sense; of every sense, as one may wait for another."""
        self._given = {sense: np.zeros((0, channels(self.params, sense)), bool) for sense in self.senses}
        for sense, part in parts.items():
            if sense in STAMPED and self._offsets is None:
                self._early.append((sense, part))
                self._set_offsets(last=False)
            else:
                self._feed(sense, part)
        self._decide()
        return self._given

    def close(self) -> Rows:
        """Nothing more comes: the rows that are left of every sense."""
        self._given = {sense: np.zeros((0, channels(self.params, sense)), bool) for sense in self.senses}
        self._set_offsets(last=True)
        for ear in self._ears.values():
            ear.close()
        self._decide()
        for sense, ear in self._ears.items():
            self._add(sense, ear.rest())
        return self._given

    @property
    def waiting(self) -> dict[Sense, int]:
        """Samples of each sense that are kept until the other senses are through with their time."""
        held = {sense: sum(length(part.signal) for part in ear.held) for sense, ear in self._ears.items()}
        for sense, part in self._early:
            held[sense] += length(part)
        return held

    def used(self) -> dict[Sense, Used]:
        """What of each sense lies in the window, of what has come so far."""
        return {sense: ear.used(self.begin_us or 0) for sense, ear in self._ears.items() if ear.heard}

    def _set_offsets(self, last: bool) -> None:
        """The origin of time, once each sense has a time stamp."""
        if self._offsets is not None:
            return
        firsts: dict[Sense, int] = {}
        for sense, part in self._early:
            if len(times := stamps(part)):
                firsts.setdefault(sense, int(times[0]))
        if last or firsts.keys() == STAMPED & set(self.senses):
            self._offsets, self.clocks = offsets(firsts), different_clocks(firsts)
            early, self._early = self._early, []
            for sense, part in early:
                self._feed(sense, part)

    def _feed(self, sense: Sense, part: Signal) -> None:
        ear = self._ears[sense]
        shift = (self._offsets or {}).get(sense, 0)
        self._add(sense, ear.hear(earlier(part, shift), self.begin_us))

    def _add(self, sense: Sense, rows: Bools | None) -> None:
        if rows is not None:
            self._given[sense] = np.concatenate([self._given[sense], rows])

    def _decide(self) -> None:
        """The window begins with the earliest onset, once no other sense can have an earlier one."""
        if self.begin_us is not None:
            return
        onsets = [ear.onset.found for ear in self._ears.values() if ear.onset and ear.onset.found is not None]
        open_ = [ear.onset.earliest for ear in self._ears.values() if ear.onset and ear.undecided]
        if onsets and min(onsets) <= min(open_, default=min(onsets)):
            self.begin_us, self.found = min(onsets) * HOP_US, "later" if min(onsets) else "at once"
        elif not onsets and not open_:
            self.begin_us, self.found = 0, "not found"
        if self.begin_us is None:
            for ear in self._ears.values():
                ear.forget(min([*onsets, *open_]) * HOP_US)
            return
        for sense, ear in self._ears.items():
            self._add(sense, ear.begin(self.begin_us))


@dataclass(frozen=True)
class _Part:
    """A part that is kept: `first` is the number of its first sample, `end_us` at or after its last."""

    signal: Signal
    first: int
    end_us: int


class _Ear:
    """One sense of a recording. Until the window's beginning is known it is encoded from its first sample, in case the
    window begins there, and what came since the earliest possible onset is kept, in case it does not."""

    def __init__(self, sense: Sense, params: EncodingParams, encoded: bool) -> None:
        self.params, self.sense, self._encoded = params, sense, encoded
        self.onset = Onset(sense, params.onset) if params.onset else None
        self.held: list[_Part] = []
        self.heard = 0  # samples
        self._activity = Activity(params)
        self._energy: list[Float64] = []  # of each hop
        self._stream: Stream | None = None
        self._rows: list[Bools] = []  # from the first sample on, until they are asked for
        self._closed = False

    @property
    def undecided(self) -> bool:
        return not self._closed and self.onset is not None and self.onset.found is None

    def hear(self, signal: Signal, begin_us: int | None) -> Bools | None:
        """The rows of the window that are over, once it has begun."""
        started_us = self._activity.end_us
        self._measure(self._activity.push(signal))
        part = _Part(signal, self.heard, self._activity.end_us)
        self.heard += length(signal)
        if begin_us is not None:
            return self._encode(_from(part, begin_us))
        self._rows.append(self._encode(signal))
        if started_us <= self._reach():
            self.held.append(part)
        return None

    def begin(self, begin_us: int) -> Bools | None:
        """The window's beginning is known: its rows until now."""
        held, self.held = self.held, []
        if begin_us:
            self._stream = None
            self._rows = [self._encode(_from(part, begin_us)) for part in held]
        rows, self._rows = self._rows, []
        return np.concatenate(rows) if rows else None

    def forget(self, before_us: int) -> None:
        """The window will not begin before that: parts that end earlier are not needed."""
        while self.held and self.held[0].end_us < before_us:
            self.held.pop(0)

    def close(self) -> None:
        self._closed = True
        self._measure(self._activity.close())
        if self.onset:
            self.onset.close()

    def rest(self) -> Bools:
        """The rows that the signal does not reach, and that of its last sample."""
        if self._stream is None:
            return np.zeros((self.params.steps, channels(self.params, self.sense)), bool)
        return self._stream.close()

    def used(self, begin_us: int) -> Used:
        until_us = begin_us + self.params.steps * self.params.step_ms * 1000
        energy = np.concatenate([np.zeros(0), *self._energy])
        first, last = begin_us // HOP_US, round(until_us / HOP_US)
        total, end_us = float(energy.sum()), self._activity.end_us
        share = float(energy[first:last].sum()) / total if total > 0 else None
        after = np.cumsum(energy[first:])
        hops = int(np.searchsorted(after, ENOUGH * after[-1])) + 1 if len(after) and after[-1] > 0 else 0
        seconds = begin_us / 1e6, max(min(until_us, end_us), begin_us) / 1e6, end_us / 1e6
        return Used(*seconds, share, hops * HOP_US / 1e6)

    def _measure(self, hops: Float64) -> None:
        self._energy.append(hops[:, 0])
        if self.onset:
            self.onset.push(hops)

    def _encode(self, signal: Signal) -> Bools:
        if self._encoded and self._stream is None:
            self._stream = Stream(signal, self.params)
        if self._stream is None or self._stream.steps >= self.params.steps:
            return np.zeros((0, channels(self.params, self.sense)), bool)
        return self._stream.push(signal)

    def _reach(self) -> float:
        """The end of all that a window from this sense's own onset on can hold, us: the window begins no later."""
        own = self.onset.found if self.onset else None
        return np.inf if own is None else own * HOP_US + (self.params.steps + 1) * self.params.step_ms * 1000


def _from(part: _Part, begin_us: int) -> Signal:
    """Without what lies before the window, with times from its beginning."""
    match part.signal:
        case Audio(samples, rate):
            return Audio(samples[max(round(begin_us * rate / 1e6) - part.first, 0) :], rate)
        case Events(events):
            first = int(np.searchsorted(events["t"], begin_us))
            return earlier(replace(part.signal, events=events[first:]), begin_us)
        case Imu(t, values):
            first = int(np.searchsorted(t, begin_us))
            return earlier(replace(part.signal, t=t[first:], values=values[first:]), begin_us)


def length(signal: Signal) -> int:
    """Samples, of any kind."""
    return len(signal.samples) if isinstance(signal, Audio) else len(stamps(signal))
