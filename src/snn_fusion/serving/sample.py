"""A test recording as a request, to try a service with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snn_fusion.benchmark.stage import split_rows
from snn_fusion.config import load_params
from snn_fusion.data.manifest import Row, load_together
from snn_fusion.data.recording import SENSES, Audio, Events, Imu, Sense, Signal
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, project_root

Array = Callable[[Any], Any]


def sample(ws: Workspace, senses: Sequence[str], label: str | None = None, recording: str | None = None) -> Any:
    """The body of a request to /v1/predict: these senses (none: all) of a validated test recording, as plain values.

    The first one that has them, of this `label` and id, if given. Raises BadInput if there is none.
    """
    for sense in senses:
        if sense not in SENSES:
            raise BadInput("--sense", f"is {sense[:20]!r}", f"one of {', '.join(SENSES)}")
    wanted: list[Sense] = [sense for sense in SENSES if sense in senses or not senses]
    for row in split_rows(ws):
        if _fits(row, wanted, label, recording):
            found = load_together(ws.path("recordings"), {s: row.senses[s] for s in wanted})
            return as_json({s: _taken(one) for s, one in found.items()})
    asked = [f"label {label}"] * (label is not None) + [f"id {recording}"] * (recording is not None)
    what = f"no test recording{' with ' if asked else ''}{' and '.join(asked)} has {', '.join(wanted)}"
    raise BadInput(ws.path("validated"), what, "ask for other senses, or another label")


def _fits(row: Row, senses: Sequence[Sense], label: str | None, recording: str | None) -> bool:
    return label in (None, row.label) and recording in (None, row.id) and all(row.has(sense) for sense in senses)


def _taken(signal: Signal) -> Signal:
    """Without channels of an IMU that are not encoded, which a service would refuse."""
    if not isinstance(signal, Imu):
        return signal
    names = {one.name for one in load_params(project_root() / "params.yaml").encoding.imu.channels}
    return signal.only(names)


def as_json(signals: Mapping[Sense, Signal]) -> dict[str, Any]:
    """What serving/payload.py reads, as plain lists."""
    return {sense: _plain(signal) for sense, signal in signals.items()}


def _plain(signal: Signal) -> dict[str, Any]:
    match signal:
        case Audio():
            return {"samples": signal.samples.tolist(), "rate": signal.rate}
        case Events():
            columns = {name: signal.events[name].tolist() for name in ("t", "x", "y", "p")}
            return {**columns, "width": signal.width, "height": signal.height}
        case Imu():
            channels = {name: signal.values[:, i].tolist() for i, name in enumerate(signal.channels)}
            return {"t": signal.t.tolist(), "channels": channels}
