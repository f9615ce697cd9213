"""The shapes of answers, as the OpenAPI document states them; a test holds the answers to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from snn_fusion.data.recording import Sense


def _said(text: str) -> Meta:
    return Meta(description=text)


class ServedModel(Struct, omit_defaults=True):
    version: Annotated[str, _said("the registry's number, or the folder's name")]
    digest: Annotated[str, _said("of the network: weights, graph and encoder")]
    arithmetic: Annotated[str, _said("`float`, or the chip whose integers were computed")]
    role: Annotated[str, _said("champion or challenger, where both are served")] = ""


class Step(Struct):
    """The answer so far, after a step of the network."""

    label: Annotated[str | None, _said("the class of the highest score; null while no spike has reached the readout")]
    scores: Annotated[dict[str, float], _said("membrane potential of each class's readout neuron")]
    margin: Annotated[float, _said("highest score minus the next")]
    steps: Annotated[int, _said("steps of the network that were run")]


class Used(Struct):
    """What of a sense was looked at: seconds from its first sample, of the length that came."""

    from_s: float
    to_s: float
    of_s: float
    share: Annotated[float | None, _said("of the sound's energy, the camera's events, the IMU's movement; null: none")]


class Prediction(Step):
    label: Annotated[str, _said("the class of the highest score")]
    steps_total: Annotated[int, _said("steps of a whole answer; under pressure fewer are run")]
    senses: Annotated[list[Sense], _said("those that decided")]
    rejected: Annotated[dict[str, str], _said("senses that could not be used, and why")]
    scaled: Annotated[dict[str, str], _said("senses of another frame than the trained one, where such are taken")]
    onset: Annotated[
        Literal["at once", "later", "not found", "off"],
        _said("where the window begins: at the first sample, later, at the first as nothing begins; or always there"),
    ]
    used: Annotated[dict[str, Used], _said("what of each sense lay in the window")]
    accuracy: Annotated[float | None, _said("measured on the test set after so many steps; null where unknown")]
    model: ServedModel
    clocks: Annotated[
        str, _said("which senses' time stamps have different origins, and that each begins at its own")
    ] = ""
    dropped: Annotated[dict[str, str], _said("what was left out: events from before the recording, and how many")] = {}
    timing_ms: Annotated[dict[str, float], _said("milliseconds of encode and infer, and of waiting (queue)")] = {}
    cached: Annotated[bool, _said("whether the answer was kept from an earlier request; then nothing was timed")] = (
        False
    )


class Last(Prediction, kw_only=True):
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


class Served(Struct):
    version: str
    digest: str
    arithmetic: str


class Version(Struct):
    """A registered version; a packaged model has its number and digest alone."""

    version: str
    digest: Annotated[str | None, _said("of the network")]
    served: Annotated[bool, _said("whether it answers here")]
    aliases: Annotated[list[str], _said("champion, challenger ...")] = []
    weights_digest: str | None = None
    data_digest: str | None = None
    synthetic: Annotated[bool, _said("trained on synthetic recordings")] = False
    registered_by: str | None = None
    experiment: Annotated[str | None, _said("the run that made it")] = None


class Models(Struct):
    served: Served
    models: Annotated[list[Version], _said("newest first")]


class Run(Struct):
    id: str
    name: str | None
    status: str
    started_ms: Annotated[int | None, _said("since 1970")]
    ended_ms: int | None
    parent: Annotated[str | None, _said("the run that this one is part of")]
    digest: Annotated[str | None, _said("of the network that it made")]


class Experiments(Struct):
    experiments: Annotated[list[Run], _said("newest first")]
    next_page: Annotated[str | None, _said("`page` of the next ones; null after the last")]


class Experiment(Run):
    params: dict[str, str]
    metrics: Annotated[dict[str, float], _said("the last value of each")]
    tags: dict[str, str]


class Benchmarks(Struct):
    """The chips side by side, as `snn-fusion compare` wrote them: each number with its provenance and source."""

    source: Annotated[str, _said("the workspace, or the version that it was registered with")]


class Reloaded(Struct, omit_defaults=True):
    """What is served from now on."""

    reloaded: Annotated[bool, _said("whether it is another model than before")]
    version: str
    digest: str
    why: Annotated[str, _said("why it could not be loaded; all is as before")] = ""


class Decision(Struct):
    """What `snn-fusion promote` or `snn-fusion rollback` said, and what is served now."""

    serving: Reloaded


class Examples(Struct):
    labels: list[str]
    seeds: Annotated[int, _said("there is an example for each seed below")]
    source: Literal["synthetic"]


__all__ = [
    *("BatchRefusal", "Benchmarks", "Decision", "Error", "Examples", "Experiment", "Experiments", "Health", "Last"),
    *("Models", "Prediction", "Predictions", "Ready", "Refusal", "Reloaded", "Run", "SenseSpikes", "Served"),
    *("ServedModel", "Spikes", "Step", "Used", "Version"),
]
