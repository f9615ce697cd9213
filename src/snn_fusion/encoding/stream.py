"""Any sense to spikes as it comes in, on one clock: step t of every sense is the same `step_ms` of the world."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Audio, Events, Imu, Sense, Signal
from snn_fusion.encoding import audio, events, imu

_CODERS: dict[Sense, Any] = {"audio": audio, "events": events, "imu": imu}
_SENSE_OF: dict[type, Sense] = {Audio: "audio", Events: "events", Imu: "imu"}


def sense_of(signal: Signal) -> Sense:
    return _SENSE_OF[type(signal)]


class Stream:
    """A signal in chunks: rows of spikes as soon as their step is over, the same as of the whole.

    `first` is any part of the signal: what all parts have in common (rate, size, channels) is taken from it. Raises
    BadInput if these do not fit the parameters.
    """

    def __init__(self, first: Signal, params: EncodingParams) -> None:
        self.sense = sense_of(first)
        self.params, self._coder = params, _CODERS[self.sense].stream(first, params)

    @property
    def steps(self) -> int:
        """Steps that were given out."""
        return int(self._coder.done)

    def push(self, part: Signal) -> npt.NDArray[np.bool_]:
        """(k, channels) of spikes: the steps that are over with this part. Raises BadInput."""
        match part:
            case Audio():
                rows = self._coder.push(part.samples)
            case Events():
                rows = self._coder.push(part.events)
            case Imu():
                rows = self._coder.push(part.t, imu.select(part, self.params))
        return rows  # type: ignore[no-any-return]

    def close(self) -> npt.NDArray[np.bool_]:
        """Nothing more comes: what is left of `params.steps`."""
        return self._coder.close()  # type: ignore[no-any-return]


def channels(params: EncodingParams, sense: Sense) -> int:
    """Base channels of a sense, before the delay taps."""
    return int(_CODERS[sense].channels(params))
