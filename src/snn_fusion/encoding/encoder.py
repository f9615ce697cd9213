"""Whole recordings to spikes, on one clock: step t of every sense is the same `step_ms` of the world."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Sense, Signal
from snn_fusion.encoding.spikes import Spikes
from snn_fusion.encoding.stream import Stream, channels, sense_of
from snn_fusion.encoding.window import Window
from snn_fusion.workspace import code_digest

__all__ = ["Stream", "channels", "encode", "encode_together", "encoder_version", "inputs", "sense_of", "with_taps"]
_CODE = ("activity", "audio", "encoder", "events", "imu", "onset", "spikes", "stream", "window")


def encode(signal: Signal, params: EncodingParams) -> Spikes:
    """`params.steps` rows over the sense's base channels. Raises BadInput if the signal does not fit the parameters."""
    sense = sense_of(signal)
    return encode_together({sense: signal}, params)[0][sense]


def encode_together(
    signals: Mapping[Sense, Signal], params: EncodingParams, only: Sense | None = None
) -> tuple[dict[Sense, Spikes], Window]:
    """One recording's senses (or `only` one of them) in the window that they share: `params.steps` rows each.

    Raises BadInput if a signal does not fit the parameters.
    """
    wanted = [sense for sense in signals if only in (None, sense)]
    window = Window(signals, params, wanted)
    parts = [window.push(signals), window.close()]
    rows = {sense: np.concatenate([part[sense] for part in parts]) for sense in wanted}
    return {sense: Spikes.from_dense(one) for sense, one in rows.items()}, window


def with_taps(spikes: Spikes, params: EncodingParams) -> Spikes:
    """The network's input: the base spikes and their delayed copies. Whole recordings of `params.steps` rows."""
    return spikes.delayed(params.taps, params.steps)


def inputs(params: EncodingParams, sense: Sense) -> int:
    """Input channels of the network for a sense: base channels times delay taps."""
    return channels(params, sense) * len(params.taps)


def encoder_version() -> str:
    """Digest of the encoders' code: another one may give other spikes for the same parameters."""
    return code_digest("data/origin.py", *(f"encoding/{name}.py" for name in _CODE))
