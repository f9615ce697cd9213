"""The OpenAPI document of a service: its schemas are those that requests are decoded with, its limits the model's."""

from __future__ import annotations

from typing import Any

import msgspec

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import MAX_SIDE, SENSES
from snn_fusion.serving import answers, examples, limits, payload
from snn_fusion.serving.arrays import LAST
from snn_fusion.serving.fitting import fitting
from snn_fusion.serving.model import Model
from snn_fusion.serving.openapi_paths import TAGS, paths
from snn_fusion.serving.predict import predict
from snn_fusion.serving.problems import Problem

Schema = dict[str, Any]
REF = "#/components/schemas/{name}"
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
STRUCTS = (
    *(payload.Recording, payload.Batch, payload.Message, examples.PenIn),
    *(answers.Prediction, answers.Predictions, answers.BatchRefusal, answers.Refusal, answers.Step, answers.Last),
    *(answers.Spikes, answers.Health, answers.Ready, answers.Examples, answers.Models, answers.Experiments),
    *(answers.Experiment, answers.Benchmarks, answers.Decision, answers.Reloaded),
)
ABOUT = """Raw recordings of a microphone, an event camera and a tactile/IMU sensor in, the class out.

Any of the senses may be missing. Times are in microseconds from the start of the recording. Bodies are JSON, or the
same in MessagePack (`application/msgpack`), where each array may be packed little-endian bytes, which is shorter;
they may be compressed with gzip. Answers are JSON, or MessagePack for `Accept: application/msgpack`.

Whatever cannot be answered says why: `{"error": {"field": ..., "problem": ..., "limit": ...}}` names where it is, what
is wrong and what would be right. Any path answers 405 to a method that it does not have.
"""


def document(model: Model) -> Schema:
    """OpenAPI 3.1 for a service of this model; requests and answers in the examples are real ones of it."""
    _, schemas = msgspec.json.schema_components(STRUCTS, ref_template=REF)
    _limit(schemas, model.graph.encoding)
    return {
        "openapi": "3.1.0",
        "info": {"title": "SNN-Fusion", "version": model.version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths(_examples(model)),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Needed where the service has keys. Roles: viewer, predictor, reviewer, admin.",
                }
            },
        },
    }


def _examples(model: Model) -> dict[str, Any]:
    """A short recording, and what the model says of it; nothing for a model that cannot use it."""
    wire = {"imu": examples.example("1", code=model.graph.encoding)["imu"]}
    try:
        given = fitting(model, payload.wired(wire, payload.Recording))
        said = predict(model, given).body(model)
    except Problem:  # its sensors have other channels
        return {}
    said["timing_ms"] = {"queue": 0.0, **said["timing_ms"]}
    refused = Problem(422, "imu.t[2]", "10000 after 10000 us", "increasing")
    return {"recording": wire, "prediction": said, "refusal": refused.body()}


def _limit(schemas: dict[str, Schema], encoding: EncodingParams) -> None:
    """Add what payload.py checks and a schema can say. It is never stricter than the checks."""
    audio, events, imu = (schemas[name]["properties"] for name in ("AudioIn", "EventsIn", "ImuIn"))
    _array(audio["samples"], "number", 1, limits.SAMPLES, minimum=-1, maximum=1)
    audio["rate"] |= {"minimum": int(2 * encoding.audio.high_hz), "maximum": limits.RATE, "description": "Hz"}
    side = {"minimum": 1, "maximum": MAX_SIDE, "description": "pixels"}
    events["width"] |= side
    events["height"] |= side
    for name, most in (("t", LAST), ("x", MAX_SIDE - 1), ("y", MAX_SIDE - 1), ("p", 1)):
        _array(events[name], "integer", 1, limits.EVENTS, minimum=0, maximum=most)
    events["t"]["description"] = "microseconds, none below the one before"
    _array(imu["t"], "integer", 2, limits.READINGS, minimum=0, maximum=LAST)
    imu["t"]["description"] = "microseconds, increasing"
    _channels(imu, encoding)
    senses = {"type": "string", "enum": list(SENSES)}
    schemas["Message"]["properties"]["start"]["anyOf"][0] |= {"items": senses, "minItems": 1, "uniqueItems": True}
    schemas["Recording"]["anyOf"] = [{"required": [s], "properties": {s: {"type": "object"}}} for s in SENSES]
    schemas["Batch"]["properties"]["recordings"] |= {"minItems": 1, "maxItems": limits.BATCH}
    schemas["Predictions"]["properties"]["answers"]["items"] = {
        "anyOf": [{"$ref": REF.format(name=name)} for name in ("Prediction", "BatchRefusal")]
    }
    _pen(schemas)


def _channels(imu: Schema, encoding: EncodingParams) -> None:
    """The channels that the model needs, with their units, and no others."""
    channels, values = imu["channels"], imu["channels"]["additionalProperties"]
    _array(values, "number", 0, limits.READINGS)
    wanted = {one.name: one.unit for one in encoding.imu.channels}
    channels["properties"] = {name: values | {"description": unit} for name, unit in wanted.items()}
    channels |= {"required": list(wanted), "additionalProperties": False}
    imu["units"]["properties"] = {name: {"const": unit} for name, unit in wanted.items()}


def _pen(schemas: dict[str, Schema]) -> None:
    stroke, pen = schemas["StrokeIn"]["properties"], schemas["PenIn"]["properties"]
    for axis in ("x", "y"):
        place = {"type": "number", "minimum": -examples.PAD_M, "maximum": examples.PAD_M}
        stroke[axis] |= {"type": "array", "items": place, "minItems": 1, "maxItems": limits.POINTS}
    pen["strokes"] |= {"minItems": 1, "maxItems": limits.STROKES}
    pen["sample_ms"] |= {"minimum": 0.1, "maximum": 1000}
    pen["gap_ms"] |= {"minimum": 0, "maximum": 60_000}


def _array(schema: Schema, kind: str, least: int, most: int, **items: float) -> None:
    """Numbers as a list, or packed as payload.py's table says; in JSON those bytes are base64."""
    as_list = {"type": "array", "items": {"type": kind, **items}, "minItems": least, "maxItems": most}
    said = {"pattern": BASE64, "minLength": 4 * min(least, 1), "description": "packed little-endian bytes"}
    schema["anyOf"] = [as_list, {"type": "string", "contentEncoding": "base64", **said}]
