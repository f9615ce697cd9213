"""Any sense to spikes, on one clock: step t of every sense is the same `step_ms` of the world."""

from __future__ import annotations

from typing import Any

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding import audio, events, imu
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.workspace import code_digest

_CODERS: dict[Sense, Any] = {"audio": audio, "events": events, "imu": imu}
_SENSE_OF: dict[type, Sense] = {Audio: "audio", Events: "events", Imu: "imu"}


def encode(signal: Signal, params: EncodingParams) -> Spikes:
    """`params.steps` rows over the sense's base channels. Raises BadInput if the signal does not fit the parameters."""
    return Spikes.from_dense(_CODERS[_SENSE_OF[type(signal)]].encode(signal, params))


def channels(params: EncodingParams, sense: Sense) -> int:
    """Base channels of a sense, before the delay taps."""
    return int(_CODERS[sense].channels(params))


def with_taps(spikes: Spikes, params: EncodingParams) -> Spikes:
    """The network's input: the base spikes and their delayed copies. Whole recordings of `params.steps` rows."""
    return spikes.delayed(params.taps, params.steps)


def inputs(params: EncodingParams, sense: Sense) -> int:
    """Input channels of the network for a sense: base channels times delay taps."""
    return channels(params, sense) * len(params.taps)


def encoder_version() -> str:
    """Digest of the encoders' code: another one may give other spikes for the same parameters."""
    return code_digest(*(f"encoding/{name}.py" for name in ("audio", "events", "imu", "encoder", "spikes")))
