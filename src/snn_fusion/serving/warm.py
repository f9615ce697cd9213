"""Loading that ends with an answer, so that nothing is compiled or read for the first time in a request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import EVENT, Audio, Events, Imu, Sense, Signal
from snn_fusion.serving.logs import log
from snn_fusion.serving.model import Model
from snn_fusion.serving.predict import predict
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.settings import Settings

RATE = 16_000  # Hz
FRAME = [34, 34]  # pixels, for a network that does not say which it is for
EVENTS = 4_000  # enough for spikes at any threshold of use


def fresh(load: Callable[[Settings], Model], settings: Settings) -> Model:
    """The model that the settings name, which has answered once. Raises BadInput."""
    model = load(settings)
    given = made(model.graph.encoding)
    try:
        predict(model, {sense: given[sense] for sense in model.graph.network.senses})
    except Problem as problem:  # its encoders have run all the same
        log.warning("the made recording has no answer", extra={"fields": {"why": str(problem)}})
    return model


def made(code: EncodingParams) -> dict[Sense, Signal]:
    """A recording that means nothing, of all senses, always the same; as long as the network looks at one."""
    rng = np.random.default_rng(0)
    seconds = code.steps * code.step_ms / 1000
    t = np.arange(int(seconds * RATE)) / RATE
    loud = 0.5 * np.sin(2 * np.pi * 300 * t * (1 + t)) * (np.sin(2 * np.pi * 3 * t) > 0)
    events = np.zeros(EVENTS, EVENT)
    events["t"] = np.sort(rng.integers(0, int(1e6 * seconds), EVENTS))
    width, height = code.events.frame or FRAME
    for name, most in (("x", width), ("y", height), ("p", 2)):
        events[name] = rng.integers(0, most, EVENTS)
    at = np.arange(0, int(1e6 * seconds), 10_000)
    channels = code.imu.channels
    moves = np.sin(6e-6 * np.pi * at[:, None] + np.arange(len(channels)))  # (readings, channels)
    return {
        "audio": Audio(loud.astype(np.float32), RATE),
        "events": Events(events, width, height),
        "imu": Imu(at, moves.astype(np.float32), tuple(c.name for c in channels), tuple(c.unit for c in channels)),
    }
