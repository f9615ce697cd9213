"""The shapes of answers, as the OpenAPI document states them; a test holds the answers to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from snn_fusion.data.recording import Sense


def _said(text: str) -> Meta:
    return Meta(description=text)


class ServedModel(Struct):
    version: Annotated[str, _said("the registry's number, or the folder's name")]
    digest: Annotated[str, _said("of the network: weights, graph and encoder")]
    arithmetic: Annotated[str, _said("`float`, or the chip whose integers were computed")]


class Step(Struct):
    """The answer so far, after a step of the network."""

    label: Annotated[str, _said("the class of the highest score")]
    scores: Annotated[dict[str, float], _said("membrane potential of each class's readout neuron")]
    margin: Annotated[float, _said("highest score minus the next")]
    steps: Annotated[int, _said("steps of the network that were run")]


class Prediction(Step):
    steps_total: Annotated[int, _said("steps of a whole answer; under pressure fewer are run")]
    senses: Annotated[list[Sense], _said("those that decided")]
    rejected: Annotated[dict[str, str], _said("senses that could not be used, and why")]
    accuracy: Annotated[float | None, _said("measured on the test set after so many steps; null where unknown")]
    model: ServedModel
    timing_ms: Annotated[dict[str, float], _said("milliseconds of encode and infer, and of waiting (queue)")]


class Last(Prediction):
    """The last message of a stream: what /v1/predict says of the whole recording."""

    final: Literal[True]


class Error(Struct):
    field: Annotated[str, _said("where it is")]
    problem: Annotated[str, _said("what is wrong, with the value")]
    limit: Annotated[str, _said("what would be right")]
    request_id: Annotated[str, _said("of this request in the log, and in X-Request-ID")] = ""


class Refusal(Struct):
    error: Error


class BatchRefusal(Refusal):
    """In the place of an answer, where a recording of a batch cannot be used."""

    status: int


class Predictions(Struct):
    answers: Annotated[list[Any], _said("one for each recording, in order")]


class SenseSpikes(Struct):
    """Spikes as compressed rows: those of step k are `index[indptr[k]:indptr[k + 1]]`."""

    steps: int
    channels: int
    indptr: Annotated[list[int], _said("steps + 1 numbers")]
    index: Annotated[list[int], _said("the channel of each spike")]


class Spikes(Struct):
    step_ms: float
    senses: dict[str, SenseSpikes]


class Health(Struct):
    status: Literal["alive"]


class Ready(Struct, omit_defaults=True):
    ready: bool
    waiting: Annotated[int, _said("requests that wait")]
    why: Annotated[str, _said("why it is not ready")] = ""


class Examples(Struct):
    labels: list[str]
    seeds: Annotated[int, _said("there is an example for each seed below")]
    source: Literal["synthetic"]


__all__ = [
    *("BatchRefusal", "Error", "Examples", "Health", "Last", "Prediction", "Predictions", "Ready", "Refusal"),
    *("SenseSpikes", "ServedModel", "Spikes", "Step"),
]
