"""Whole recordings to answers: decode, encode, infer, each timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.window import Used, Window
from snn_fusion.serving.model import Model
from snn_fusion.serving.problems import invalid
from snn_fusion.serving.session import Session, Step, outside

SILENT = "makes no spikes: silent, or too weak"


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
    scaled: Mapping[Sense, str]
    dropped: Mapping[Sense, str]
    window: Window
    inside: Mapping[Sense, Used]  # what of each sense lies in the window

    def label(self, model: Model) -> str:
        return str(self.last.body(model.classes)["label"])

    def body(self, model: Model) -> dict[str, Any]:
        found = self.last.body(model.classes)
        view = self.used[0] if len(self.used) == 1 else "fused"
        by_step = model.accuracy.get(view, [])
        total = model.graph.encoding.steps
        said: dict[str, Any] = {"clocks": self.window.clocks} if self.window.clocks else {}
        said |= {"dropped": dict(self.dropped)} if self.dropped else {}
        return {
            **found,
            "steps_total": total,
            "senses": list(self.used),
            "rejected": dict(self.rejected),
            "scaled": dict(self.scaled),
            "onset": self.window.found,
            "used": {sense: one.body() for sense, one in self.inside.items()},
            **said,
            "accuracy": by_step[found["steps"] - 1] if len(by_step) == total else None,
            "model": {"version": model.version, "digest": model.graph.digest, "arithmetic": model.arithmetic},
            "timing_ms": {"encode": round(1000 * self.encode_s, 3), "infer": round(1000 * self.infer_s, 3)},
        }


def predict(model: Model, given: Mapping[Sense, Signal], steps: int | None = None) -> Answer:
    """The answer to a whole recording, after `steps` steps (all). Raises Problem.

    A sense that makes no spikes is rejected, and the others decide; with none left there is no answer.
    """
    session = Session(model, given, steps)
    session.push(given)
    session.close()
    return concluded(session, session.last())


def concluded(session: Session, last: Step) -> Answer:
    """The answer of a session that is over, with its last step.

    Raises Problem if a sense lies outside the window, none made a spike, or none of the spikes reached the readout.
    """
    inside = session.window.used()
    late = outside(session, inside)
    used = tuple(sense for sense, count in session.spikes.items() if count and sense not in late)
    rejected = {sense: late.get(sense, SILENT) for sense in session.spikes if sense not in used}
    if not used:
        raise invalid(", ".join(rejected), SILENT, "at least one sense that makes spikes")
    if not last.answers:
        problem = f"after {last.step} of {session.code.steps} steps all scores are 0: no spike reached the readout"
        raise invalid(", ".join(used), problem, "a recording that makes more spikes")
    seconds = session.seconds["encode"], session.seconds["infer"]
    spikes = dict(session.spikes), dict(session.state.spikes)
    return Answer(last, used, rejected, *seconds, *spikes, session.scaled, session.dropped, session.window, inside)
