"""What was sent against what the network was trained on: its senses, and the frame of its event camera."""

from __future__ import annotations

from collections.abc import Iterable

from snn_fusion.data.recording import SENSES, Sense, Signal
from snn_fusion.encoding.frame import check_frame
from snn_fusion.errors import BadInput
from snn_fusion.serving.model import Model
from snn_fusion.serving.payload import Recording, signals
from snn_fusion.serving.problems import invalid


def fitting(model: Model, given: Recording, at: str = "", chunk: bool = False) -> dict[Sense, Signal]:
    """What was sent of each sense, for this network. Raises Problem before anything is converted or encoded."""
    check_senses(model, (sense for sense in SENSES if getattr(given, sense) is not None), at.rstrip("."))
    if given.events is not None:
        try:
            check_frame(given.events.width, given.events.height, model.graph.encoding.events)
        except BadInput as error:
            raise invalid(f"{at}events", error.problem, error.remedy) from None
    return signals(given, model.graph.encoding, at, chunk)


def check_senses(model: Model, sent: Iterable[Sense], at: str = "") -> None:
    """Raises Problem for a sense that the network does not have: its answer would not depend on what was sent."""
    has = model.graph.network.senses
    for sense in sent:
        if sense not in has:
            raise invalid(f"{at}.{sense}" if at else sense, "the network has no such sense", f"of {', '.join(has)}")
