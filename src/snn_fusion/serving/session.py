"""One recording that is being fed, in one piece or in chunks, to the answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.data.events import JUMP_REMEDY, impossible_jump
from snn_fusion.data.origin import stamps
from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding.encoder import channels
from snn_fusion.encoding.frame import scaled
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.window import LEAST_INSIDE, Rows, Used, Window, length
from snn_fusion.errors import BadInput
from snn_fusion.serving import limits
from snn_fusion.serving.model import Model
from snn_fusion.serving.payload import span_us
from snn_fusion.serving.problems import invalid

# Samples of a sense that are kept while another one lags behind: as many as a whole recording may have.
MOST_WAITING: dict[Sense, int] = {"audio": limits.SAMPLES, "events": limits.EVENTS, "imu": limits.READINGS}
CUT = "cut the recording, leave this sense out, or train with more encoding.steps"


@dataclass(frozen=True)
class Step:
    """The answer after `step` steps: `scores` are the readout's membrane potentials, (classes,)."""

    step: int
    scores: npt.NDArray[np.float32]

    @property
    def answers(self) -> bool:
        """Whether any spike has reached the readout: scores that are all 0 say nothing of the recording."""
        return bool(self.scores.any())

    def body(self, classes: tuple[str, ...]) -> dict[str, Any]:
        # Plain numbers: for ten values numpy lets go of the interpreter's lock, and waits to have it back.
        values: list[float] = self.scores.tolist()
        best = values.index(max(values))  # as `decide`: a tie goes to the lowest class
        margin = values[best] - max(values[:best] + values[best + 1 :], default=values[best])
        scores = dict(zip(classes, values, strict=True))
        label = classes[best] if self.answers else None
        return {"label": label, "scores": scores, "margin": margin, "steps": self.step}


class Session:
    """A recording of these senses; a step is run once all senses that have not ended are through with it.

    The first step is that with which the window begins, so there is none until that is known (encoding/window.py).
    `most`: steps after which it stops, where not all are wanted; `spikes` of each sense, and `seconds` of encoding and
    of inference, until now.
    """

    def __init__(self, model: Model, senses: Iterable[Sense], most: int | None = None) -> None:
        self.model, self.code = model, model.graph.encoding
        self.most = min(most or self.code.steps, self.code.steps)
        self.state = model.network.rest()
        self.scaled: dict[Sense, str] = {}  # what was done with a frame that the network was not trained on
        self.dropped: dict[Sense, str] = {}  # what was left out of what was sent, and why
        whole = self.most == self.code.steps
        self.window = Window(senses, self.code if whole else self.code.model_copy(update={"steps": self.most}))
        self.kept: dict[Sense, tuple[str, int | None, int | None]] = {}  # what stays the same; first and last time
        self.waiting = {s: np.zeros((0, channels(self.code, s)), bool) for s in self.window.senses}
        self.spikes: dict[Sense, int] = dict.fromkeys(self.window.senses, 0)
        self.done = 0
        self.seconds = {"encode": 0.0, "infer": 0.0}

    def push(self, chunks: Mapping[Sense, Signal]) -> None:
        """The next part of each sense, which must fit what came before. Raises Problem."""
        for sense, chunk in chunks.items():
            if sense not in self.window.senses:
                raise invalid(sense, "was not announced", f"announced: {', '.join(self.window.senses)}")
            self._same(sense, chunk)
            if isinstance(chunk, Events) and (note := scaled(chunk.width, chunk.height, self.code.events)):
                self.scaled[sense] = note
            if chunk.remarks:
                self.dropped[sense] = "; ".join(chunk.remarks)
        try:
            with self._timed("encode"):
                self._add(self.window.push(chunks))
        except BadInput as error:
            raise invalid(error.where, error.problem, error.remedy or "see /docs") from None
        for sense, count in self.window.waiting.items():
            if count > (most := MOST_WAITING[sense]):
                problem = f"{count:,} samples wait for the other senses to come as far"
                raise invalid(sense, problem, f"at most {most:,}: send all senses side by side")

    def close(self) -> None:
        """Nothing more comes."""
        with self._timed("encode"):
            self._add(self.window.close())

    def steps(self) -> list[Step]:
        """The answer after each step that can be run now."""
        first = self.done
        return [Step(first + i + 1, potential) for i, potential in enumerate(self._run())]

    def last(self) -> Step:
        """The answer after all steps that can be run now, of which there must be one."""
        potential = self._run()[-1]
        return Step(self.done, potential)

    def _run(self) -> npt.NDArray[np.float32]:
        """The readout's potentials after each step that can be run now, (steps, classes)."""
        ready = min((len(rows) for rows in self.waiting.values()), default=0)
        ready = min(ready, self.most - self.done)
        if ready <= 0:
            return np.zeros((0, len(self.model.classes)), np.float32)
        rows = {s: Spikes.from_dense(one[:ready]) for s, one in self.waiting.items()}
        self.waiting = {s: one[ready:] for s, one in self.waiting.items()}
        for sense, one in rows.items():
            self.spikes[sense] += len(one.index)
        with self._timed("infer"):
            potentials = self.model.network.advance(self.state, rows, ready)
        self.done += ready
        return potentials

    @property
    def over(self) -> bool:
        return self.done >= self.most

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - started

    def _add(self, rows: Rows) -> None:
        for sense, more in rows.items():
            self.waiting[sense] = np.concatenate([self.waiting[sense], more])

    def _same(self, sense: Sense, chunk: Signal) -> None:
        """A chunk goes on where the last one ended, on the same sensor."""
        fixed = _fixed(chunk)
        before, began, ended = self.kept.get(sense, (fixed, None, None))
        if fixed != before:
            raise invalid(sense, f"{fixed} after {before}", "the same rate or size in all chunks")
        if not length(chunk):
            self.kept[sense] = fixed, began, ended
            return
        if isinstance(chunk, Audio):
            began, last, at = 0, (ended or 0) + round(1e6 * len(chunk.samples) / chunk.rate), f"{sense}.samples"
        else:
            times = stamps(chunk)
            if ended is not None:
                _goes_on(sense, times, ended, span_us(self.code))
            began = int(times[0]) if began is None else began
            last, at = int(times[-1]), f"{sense}.t[{len(times) - 1}]"
        if last - began > (most := max(limits.STREAM_US, span_us(self.code))):
            problem = f"{last} us, {(last - began) / 1e6:,.0f} s after the first"
            raise invalid(at, problem, f"{most / 1e6:,.0f} s at most")
        self.kept[sense] = fixed, began, last


def _goes_on(sense: Sense, times: npt.NDArray[np.int64], ended: int, most: int) -> None:
    """The time stamps of a chunk, after one that ended at `ended`. Raises Problem."""
    if times[0] < ended + (sense == "imu"):
        raise invalid(f"{sense}.t[0]", f"{times[0]} after {ended} us", "where the last chunk ended")
    if sense == "events" and (jump := impossible_jump(np.array([ended, times[0]]))):
        raise invalid("events.t[0]", jump[1], JUMP_REMEDY)
    if times[-1] - ended > most:
        problem = f"{times[-1]} us, {(times[-1] - ended) / 1e6:,.0f} s after the last chunk"
        raise invalid(f"{sense}.t[{len(times) - 1}]", problem, f"{most / 1e6:,.0f} s at most")


def _fixed(chunk: Signal) -> str:
    """What all chunks have in common."""
    match chunk:
        case Audio():
            return f"{chunk.rate} Hz"
        case Events():
            return f"{chunk.width} x {chunk.height} pixels"
        case Imu():
            return ""


def outside(session: Session, inside: Mapping[Sense, Used]) -> dict[Sense, str]:
    """Senses of which next to nothing lies in the window, and what to say of each: an answer would not be about them.

    With fewer than all steps they may lie in the rest: the others decide, or without others what there is of them.
    Raises Problem where all steps were run.
    """
    found = {
        sense: f"{one.share:.2%} of it lies in the window of {one.from_s:g} to {one.to_s:g} s, it lasts {one.of_s:g} s"
        for sense, one in inside.items()
        if one.share is not None and one.share < LEAST_INSIDE
    }
    others = any(count for sense, count in session.spikes.items() if sense not in found)
    if found and session.most == session.code.steps:
        sense, problem = next(iter(found.items()))
        raise invalid(sense, problem, f"at least {LEAST_INSIDE:.0%}: {CUT}")
    return found if others else {}


def encoded(model: Model, given: Mapping[Sense, Signal]) -> dict[Sense, Spikes]:
    """The base spikes of each sense, as the network takes them. Raises Problem."""
    session = Session(model, given)
    session.push(given)
    session.close()
    outside(session, session.window.used())
    return {s: Spikes.from_dense(rows) for s, rows in session.waiting.items()}
