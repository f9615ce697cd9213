"""A test recording as a request, to try a service with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snn_fusion.benchmark.stage import split_rows
from snn_fusion.config import Params, load_params
from snn_fusion.data.manifest import Row, load_together
from snn_fusion.data.recording import SENSES, Audio, Events, Imu, Sense, Signal
from snn_fusion.errors import BadInput
from snn_fusion.registry.models import NothingRegistered, resolve_model
from snn_fusion.registry.tracking import URI, database
from snn_fusion.serving.packaged import is_package
from snn_fusion.serving.settings import folder_of
from snn_fusion.workspace import Workspace, project_root

Array = Callable[[Any], Any]


def sample(
    ws: Workspace,
    senses: Sequence[str],
    label: str | None = None,
    recording: str | None = None,
    model: str | None = None,
    params: Params | None = None,
) -> Any:
    """The body of a request to /v1/predict: these senses (none: all of the model) of a validated test recording, as
    plain values.

    The first one that has them, of this `label` and id, if given. Raises BadInput if there is none, or the model does
    not have a sense.
    """
    has, channels = _taken_by(params or load_params(project_root() / "params.yaml"), ws, model)
    for sense in senses:
        if sense not in SENSES:
            raise BadInput("--sense", f"is {sense[:20]!r}", f"one of {', '.join(SENSES)}")
        if sense not in has:
            raise BadInput("--sense", f"the network has no {sense}", f"one of {', '.join(has)}")
    wanted: list[Sense] = [sense for sense in has if sense in senses or not senses]
    for row in split_rows(ws):
        if _fits(row, wanted, label, recording):
            found = load_together(ws.path("recordings"), {s: row.senses[s] for s in wanted})
            return as_json({s: _only(one, channels) for s, one in found.items()})
    asked = [f"label {label}"] * (label is not None) + [f"id {recording}"] * (recording is not None)
    what = f"no test recording{' with ' if asked else ''}{' and '.join(asked)} has {', '.join(wanted)}"
    raise BadInput(ws.path("validated"), what, "ask for other senses, or another label")


def _fits(row: Row, senses: Sequence[Sense], label: str | None, recording: str | None) -> bool:
    return label in (None, row.label) and recording in (None, row.id) and all(row.has(sense) for sense in senses)


def _taken_by(params: Params, ws: Workspace, model: str | None) -> tuple[list[Sense], list[str]]:
    """The senses of the network that is meant, and the channels of its IMU. Raises BadInput if there is no such model.

    Without a name it is the champion, else the newest version, else the network that was trained here last; before any
    was trained, `params` say what one would take.
    """
    folder = _graph_of(params, ws, model)
    if folder is None:
        return list(SENSES), [one.name for one in params.encoding.imu.channels]
    try:
        meta = json.loads((folder / "graph.json").read_text())
        channels = [one["name"] for one in meta["encoder"]["params"]["imu"]["channels"]]
        return [sense for sense in SENSES if sense in meta["senses"]], channels
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(folder / "graph.json", f"cannot be read: {error}", "name a graph folder or a version") from None


def _graph_of(params: Params, ws: Workspace, model: str | None) -> Path | None:
    folder = folder_of(model) if model else None
    if folder is not None:
        return folder / "graph" if is_package(folder) else folder
    if model is not None or URI in os.environ or database(ws).exists():
        try:
            return resolve_model(params, ws, model)
        except NothingRegistered:
            pass
    trained = ws.path("trained", "graph")
    return trained if trained.is_dir() else None


def _only(signal: Signal, channels: Sequence[str]) -> Signal:
    """Without channels of an IMU that the network does not take, which a service would refuse."""
    return signal.only(channels) if isinstance(signal, Imu) else signal


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
