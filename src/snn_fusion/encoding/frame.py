"""The frame of an event camera, in pixels: the one that a network is trained on, and what is done with others.

The grid of the encoder lies over the whole frame whatever its size, so that recordings of any camera give spikes on the
same channels. What such spikes mean to a network that was trained on another frame is another question: other pixels
for each cell, other shapes, other counts of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snn_fusion.config import EncodingParams, EventCode
from snn_fusion.data.manifest import Row, load
from snn_fusion.data.recording import Events
from snn_fusion.errors import BadInput

SETTING = "encoding.events.other_frames: scale"


def trained_frame(rows: Sequence[Row], recordings: Path) -> tuple[int, int] | None:
    """Width and height of the first training recording that has events; None where there are none."""
    for row in rows:
        if row.split == "train" and (ref := row.senses.get("events")):
            if ref.size is not None:
                return ref.size
            signal = load(recordings, ref, "events")
            assert isinstance(signal, Events)
            return signal.width, signal.height
    return None


def with_frame(params: EncodingParams, frame: Sequence[int] | None) -> EncodingParams:
    """These parameters for networks of this frame; as they are where they name one, or `frame` is not known."""
    if frame is None or params.events.frame is not None:
        return params
    return params.model_copy(update={"events": params.events.model_copy(update={"frame": list(frame)})})


def check_frame(width: int, height: int, code: EventCode) -> None:
    """Raises BadInput for a frame that the network was not trained on, unless others are scaled to it."""
    if code.other_frames == "refuse" and is_other(width, height, code):
        wanted = f"{code.frame[0]} x {code.frame[1]}" if code.frame else ""
        problem = f"a frame of {width} x {height} pixels; the network is for {wanted}"
        raise BadInput("events", problem, f"crop or bin the recording to {wanted}, or train with {SETTING}")


def is_other(width: int, height: int, code: EventCode) -> bool:
    """Whether it is known which frame the network is for, and this is none of it."""
    return code.frame is not None and [width, height] != code.frame


def scaled(width: int, height: int, code: EventCode) -> str | None:
    """What is done with this frame, in words, if it is another than the trained one."""
    if code.frame is None or not is_other(width, height, code):
        return None
    return f"{width} x {height} pixels, scaled to the {code.frame[0]} x {code.frame[1]} that the network was trained on"
