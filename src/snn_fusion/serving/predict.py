"""Whole recordings to answers: decode, encode, infer, each timed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import invalid
from snn_fusion.serving.session import Session, Step


@dataclass(frozen=True)
class Answer:
    """What came out, and what it took: seconds of encoding and inference, spikes of each sense and layer."""

    last: Step
    used: tuple[Sense, ...]
    rejected: Mapping[Sense, str]
    encode_s: float
    infer_s: float
    input_spikes: Mapping[Sense, int]
    layer_spikes: Mapping[str, int]

    def label(self, model: Model) -> str:
        return str(self.last.body(model.classes)["label"])

    def body(self, model: Model) -> dict[str, Any]:
        found = self.last.body(model.classes)
        view = self.used[0] if len(self.used) == 1 else "fused"
        by_step = model.accuracy.get(view, [])
        total = model.graph.encoding.steps
        return {
            **found,
            "steps_total": total,
            "senses": list(self.used),
            "rejected": dict(self.rejected),
            "accuracy": by_step[found["steps"] - 1] if len(by_step) == total else None,
            "model": {"version": model.version, "digest": model.graph.digest, "arithmetic": model.arithmetic},
            "timing_ms": {"encode": round(1000 * self.encode_s, 3), "infer": round(1000 * self.infer_s, 3)},
        }


def predict(model: Model, given: Mapping[Sense, Signal], steps: int | None = None) -> Answer:
    """The answer to a whole recording, after `steps` steps (all). Raises Problem.

    A sense that makes no spikes is rejected, and the others decide; with none left there is no answer.
    """
    started = time.perf_counter()
    session = Session(model, given, steps)
    session.push({sense: _until(one, session.most * model.graph.encoding.step_ms) for sense, one in given.items()})
    session.close()
    encoded = time.perf_counter()
    found = session.steps()
    inferred = time.perf_counter()
    used = tuple(sense for sense in given if session.spikes[sense])
    rejected = {sense: "makes no spikes: silent, or too weak" for sense in given if not session.spikes[sense]}
    if not used:
        raise invalid(", ".join(given), "makes no spikes: silent, or too weak", "at least one sense that makes spikes")
    return Answer(
        found[-1], used, rejected, encoded - started, inferred - encoded, dict(session.spikes), session.state.spikes
    )


def _until(signal: Signal, ms: float) -> Signal:
    """The part before `ms`, which is all that so many steps need."""
    match signal:
        case Audio():
            return Audio(signal.samples[: round(ms * signal.rate / 1000) + 1], signal.rate)
        case Events():
            here = int(signal.events["t"].searchsorted(round(1000 * ms)))
            return Events(signal.events[:here], signal.width, signal.height)
        case Imu():
            here = max(int(signal.t.searchsorted(1000 * ms)), 1)
            return Imu(signal.t[:here], signal.values[:here], signal.channels, signal.units)
