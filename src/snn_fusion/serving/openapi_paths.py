"""The OpenAPI document's paths: what each route takes, answers and refuses."""

from __future__ import annotations

from typing import Any

from snn_fusion.data.synthetic_glyph import LABELS
from snn_fusion.serving import examples, limits
from snn_fusion.serving.kinds import JSON, MSGPACK

Part = dict[str, Any]

TAGS = {
    "predict": "Recordings in, answers out.",
    "try": "Something to send: made-up recordings, and a drawn digit as a pen would feel it.",
    "service": "Whether it runs, and how.",
    "models": "What is served, what was measured, and who decides that. From the registry.",
}
WHY = {
    400: "The body is not what Content-Type or Content-Encoding says, or a query parameter is none or cannot be used.",
    401: "A token is needed: there is none, or it is not valid (any more).",
    403: "The token's role does not allow this.",
    404: "There is no such thing.",
    408: f"The head did not arrive within {limits.HEAD_S:g} s, or the body within {limits.BODY_S:g} s.",
    409: "It contradicts the state of the registry.",
    413: f"The body, or what it unpacks to, is larger than {limits.BODY:,} bytes.",
    415: f"The content type is neither {JSON} nor {MSGPACK}, or the encoding is not gzip.",
    422: "It can be read, but means nothing: `field` says where.",
    426: "It was not asked as a WebSocket.",
    429: "Too many requests: come again after the seconds in Retry-After.",
    503: "What it needs cannot be reached, or the service is stopping.",
}
SAFE = (400, 401, 403, 429, 503)
WITH_BODY = (400, 401, 403, 408, 413, 415, 422, 429, 503)
STREAM = f"""Open it as a WebSocket. Messages are text (JSON) or binary (MessagePack), of at most {limits.MESSAGE:,}
bytes; the answer comes in the same form.

1. `{{"start": ["audio", "imu"]}}`: the senses that will come. It may hold their first chunks as well.
2. `{{"audio": {{"samples": [...], "rate": 8000}}}}`: chunks of any size, each sense in order of time.
3. `{{"end": true}}`: nothing more comes. Not needed where the senses last for all steps.

After each step of the network comes a `Step`; the last message is a `Last`: what `/v1/predict` says of the whole
recording. A problem comes as `{{"status": 422, "error": {{...}}}}`, and then the stream is closed. At most
{limits.SESSIONS} are open at once, and one is closed after {limits.IDLE_S:g} s without a message. Under pressure it
ends after fewer steps, which the last message says, or is refused with 429.
"""


def paths(given: Part) -> dict[str, Part]:
    """`given` are examples: recording, prediction, refusal; each may be missing."""
    recording, batch = given.get("recording"), None
    if recording is not None:
        batch = {"recordings": [recording]}
    return {
        "/v1/predict": {"post": CHOICE | _post("Predict", PREDICT, "Recording", recording, "Prediction", given)},
        "/v1/predict/batch": {"post": CHOICE | _post("Predict several", BATCH, "Batch", batch, "Predictions", given)},
        "/v1/spikes": {"post": _post("Encode", SPIKES, "Recording", recording, "Spikes", given)},
        "/v1/stream": {"get": _stream()},
        "/v1/examples": {"get": _get("try", "What there are examples of", "Role: viewer.", "Examples")},
        "/v1/examples/{label}": {"get": _example()},
        "/v1/pen": {"post": _pen(given)},
        "/health": {"get": _get("service", "Is it alive", "Needs no token.", "Health", ())},
        "/ready": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/v1/models": {"get": _get("models", "Versions, and which are served", "Role: viewer.", "Models")},
        "/api/experiments": {"get": _get("models", "Runs of the pipeline", RUNS, "Experiments", SAFE, PAGING)},
        "/api/experiments/{id}": {
            "get": _get("models", "One run", "Role: viewer.", "Experiment", (*SAFE, 404, 422), [_path("id", RUN)])
        },
        "/api/benchmarks": {"get": _get("models", "What was measured", BENCHMARKS, "Benchmarks", (*SAFE, 404))},
        "/api/models/{version}/promote": {"post": _decide("Promote a version", PROMOTE)},
        "/api/models/{version}/rollback": {"post": _decide("Take a champion back", ROLLBACK)},
        "/api/models/reload": {"post": _reload()},
    }


PREDICT = """The class of one recording, of any subset of the senses. A sense that makes no spikes is rejected, and the
rest decides. Under pressure fewer steps are run, which `steps` and `accuracy` say. Role: predictor."""
BATCH = f"""The classes of up to {limits.BATCH} recordings. One that cannot be used has its refusal in its place; each
answer is what the recording would get alone. Role: predictor."""
SPIKES = """What the encoders make of a recording, before the network's delay taps. Role: predictor."""
BENCHMARKS = "The chips side by side; each number with its unit, provenance and source. Role: viewer."
RUNS = "From MLflow, newest first. Role: viewer."
PROMOTE = """It becomes the champion if it passes the gate, and is served where the champion is. Nobody promotes a model
of their own. Role: reviewer."""
ROLLBACK = "This champion is taken back: the one before it is champion again, and served. Role: reviewer."
RELOAD = "Load what the settings name now, after a promotion by the pipeline, say. Role: admin."
RUN: Part = {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["0123456789abcdef0123456789abcdef"]}
VERSION: Part = {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"}
PAGING: list[Part] = [
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}},
    {
        **{"name": "page", "in": "query", "description": "the `next_page` of another answer"},
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9+/=_-]{1,512}$"},
    },
]
CHOICE: Part = {
    "parameters": [
        {
            **{"name": "X-Model", "in": "header", "description": "which answers, where a challenger is served too"},
            "schema": {"type": "string", "enum": ["champion", "challenger"]},
        }
    ]
}


def _post(summary: str, about: str, takes: str, body: Any, answers: str, given: Part, tag: str = "predict") -> Part:
    found = {"tags": [tag], "summary": summary, "description": about, "operationId": _id(summary), **_TOKEN}
    found["requestBody"] = {"required": True, "content": _content(takes, body)}
    said = given.get("prediction") if answers == "Prediction" else None
    refused = {"content": _content("Refusal", given.get("refusal"))}
    return found | {"responses": {"200": _answer(answers, said), **_refusals(WITH_BODY), "422": _why(422) | refused}}


def _get(
    tag: str, summary: str, about: str, answers: str | None, refusals: tuple[int, ...] = SAFE, parameters: Any = ()
) -> Part:
    found = {"tags": [tag], "summary": summary, "description": about, "operationId": _id(summary)}
    found |= _TOKEN if 401 in refusals else {"security": []}
    if parameters:
        found["parameters"] = list(parameters)
    return found | {"responses": {"200": _answer(answers), **_refusals(refusals)}}


def _example() -> Part:
    seed = {"type": "integer", "minimum": 0, "maximum": examples.SEEDS - 1, "default": 0}
    parameters = [
        _path("label", {"type": "string", "enum": list(LABELS)}),
        {"name": "seed", "in": "query", "description": "another one for each", "schema": seed},
    ]
    about = """All three senses, from the synthetic generator: nobody said or wrote it. Can be sent to `/v1/predict`.
Role: viewer."""
    return _get("try", "A made-up recording", about, "Recording", (*SAFE, 404), parameters)


def _pen(given: Part) -> Part:
    about = f"""A pen's path as an inertial sensor in it would feel it, computed as for the training recordings. Places
in metres, within {examples.PAD_M:g} m. Answers a recording, which can be sent to `/v1/predict`. Role: predictor."""
    path = {"strokes": [{"x": [0.0, 0.0, 0.0, 0.0], "y": [0.016, 0.011, 0.005, 0.0]}], "sample_ms": 10, "gap_ms": 100}
    return _post("A drawing as a recording", about, "PenIn", path, "Recording", {}, "try")


def _ready() -> Part:
    about = """Red before requests fail: while it stops, or cannot check tokens, or newcomers get less than all steps.
Needs no token."""
    found = _get("service", "Does it want requests", about, "Ready", ())
    found["responses"]["503"] = {"description": "Not now: `why`.", "content": _content("Ready")}
    return found


def _metrics() -> Part:
    about = "Prometheus' text. Not public. Role: admin."
    found = _get("service", "Metrics", about, None)
    found["responses"]["200"] = {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return found


def _stream() -> Part:
    found = _get("predict", "Stream", STREAM, None, (*SAFE, 426))
    found["responses"].pop("200")
    found["responses"]["101"] = {"description": "The stream is open."}
    found["x-messages"] = {"takes": _ref("Message"), "answers": [_ref("Step"), _ref("Last"), _ref("Refusal")]}
    return found


def _decide(summary: str, about: str) -> Part:
    return _get("models", summary, about, "Decision", (*SAFE, 404, 409, 422), [_path("version", VERSION)])


def _reload() -> Part:
    found = _get("models", "Load the model anew", RELOAD, "Reloaded")
    found["responses"]["409"] = {"description": "It could not be loaded: `why`.", "content": _content("Reloaded")}
    return found


_TOKEN: Part = {"security": [{}, {"token": []}]}


def _id(summary: str) -> str:
    return summary.lower().replace(",", "").replace(" ", "-")


def _path(name: str, schema: Part) -> Part:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _ref(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(name: str | None, example: Any = None) -> Part:
    said: Part = {"schema": _ref(name) if name else {"type": "object"}}
    return {JSON: said | ({"example": example} if example is not None else {}), MSGPACK: said}


def _answer(name: str | None, example: Any = None) -> Part:
    return {"description": "The answer.", "content": _content(name, example)}


def _why(status: int) -> Part:
    found: Part = {"description": WHY[status], "content": _content("Refusal")}
    if status == 429:
        found["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
    return found


def _refusals(statuses: tuple[int, ...]) -> Part:
    return {str(status): _why(status) for status in sorted(statuses)}
