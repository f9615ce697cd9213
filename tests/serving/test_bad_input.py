"""Whatever comes in: the right 4xx, a JSON body that names field and limit, and good answers afterwards."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest

from snn_fusion.serving import limits
from tests.serving.made import MSGPACK, as_json, encoded, packed, recording

GOOD = as_json(recording(1, seconds=0.3))
PACKED = packed(recording(1, seconds=0.3))
JSON = {"Content-Type": "application/json"}
POSTS = ("/v1/predict", "/v1/predict/batch", "/v1/spikes")


def changed(form: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with something else at `sense.field.position`; None takes it away."""
    form = copy.deepcopy(form)
    *way, last = [int(one) if one.isdecimal() else one for one in path.split(".")]
    place: Any = form
    for one in way:
        place = place[one]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return form


def refused(client, status: int, field: str, content: bytes, headers: dict[str, str] = JSON, path: str = POSTS[0]):
    """The error of an answer that is one, after a look at whether the service still answers well."""
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["field"] == field, error
    assert error["problem"] and error["limit"]
    assert len(answer.content) < 600  # whatever came in does not come back
    assert client.post("/v1/predict", content=encoded(GOOD), headers=JSON).status_code == 200
    return error


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("audio.samples", None, "audio.samples"),
        ("audio.rate", "8000", "audio.rate"),
        ("audio.rate", 8000.5, "audio.rate"),
        ("audio.rate", True, "audio.rate"),
        ("audio.rate", 0, "audio.rate"),
        ("audio.rate", -8000, "audio.rate"),
        ("audio.rate", 7599, "audio.rate"),
        ("audio.rate", 192_001, "audio.rate"),
        ("audio.rate", 10**30, "audio.rate"),
        ("audio.samples", [], "audio.samples"),
        ("audio.samples", [0.5], "audio.samples"),
        ("audio.samples", "none", "audio.samples"),
        ("audio.samples", {}, "audio.samples"),
        ("audio.samples", [[0.5, 0.5]] * 400, "audio.samples[0]"),
        ("audio.samples.7", "0.5", "audio.samples[7]"),
        ("audio.samples.7", 1.5, "audio.samples[7]"),
        ("audio.samples.7", 1e300, "audio.samples[7]"),
        ("audio.samples.7", 10**40, "audio.samples[7]"),
        ("audio", {}, "audio.samples"),
        ("audio", [], "audio"),
        ("audio.gain", 1, "audio.gain"),
        ("audio.file", "file:///etc/passwd", "audio.file"),
        ("smell", [1], "smell"),
        ("x" * 5000, 1, "x" * 40),
        ("events.t.3", 900_000, "events.t[4]"),
        ("events.t.0", -1, "events.t[0]"),
        ("events.t.599", 2**63, "events.t[599]"),
        ("events.t.599", 2**63 - 1, "events.t[599]"),
        ("events.t.599", -(2**63), "events.t[599]"),
        ("events.t.599", -(2**70), "events.t[599]"),
        ("events.t.599", 10**4000, "events.t[599]"),
        ("events.t.599", limits.SPAN_US + 10_000, "events.t[599]"),
        ("events.t.599", 0.5, "events.t[599]"),
        ("events.t.599", None, "events"),
        ("events.x.0", 34, "events.x[0]"),
        ("events.x.0", -1, "events.x[0]"),
        ("events.x.0", 65_536 + 5, "events.x[0]"),
        ("events.y.0", 34, "events.y[0]"),
        ("events.p.0", 2, "events.p[0]"),
        ("events.p.0", True, "events.p[0]"),
        ("events.width", 0, "events.width"),
        ("events.height", 4097, "events.height"),
        ("events.height", 10**200, "events.height"),
        ("imu.t.0", 20_000, "imu.t[1]"),
        ("imu.t.1", 0, "imu.t[1]"),
        ("imu.t", [5], "imu"),
        ("imu.channels", {}, "imu.channels"),
        ("imu.channels.acc_x", None, "imu.channels"),
        ("imu.channels.acc_x.2", 1e39, "imu.channels.acc_x[2]"),
        ("imu.channels.acc_x.2", None, "imu"),
        ("imu.units", {"acc_x": "g"}, "imu.units.acc_x"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_that_means_nothing_is_refused_by_its_field(client, path, value, field) -> None:
    refused(client, 422, field, json.dumps(changed(GOOD, path, value)).encode())


def test_too_many_channels_and_too_few_are_both_named(client) -> None:
    many = changed(GOOD, "imu.channels", {f"c{i}": [0.0] for i in range(limits.CHANNELS + 1)})
    assert "at most 64" in refused(client, 422, "imu.channels", encoded(many))["limit"]
    few = changed(GOOD, "imu.channels", {"acc_x": [0.0]})
    error = refused(client, 422, "imu.channels", encoded(few))
    assert error["problem"] == "lacks acc_y, contact, turn_rate"


@pytest.mark.parametrize("values", [0, 1])
def test_one_reading_of_an_imu_is_too_few(client, values) -> None:
    imu = {"t": [5] * values, "channels": {name: [0.0] * values for name in GOOD["imu"]["channels"]}}
    refused(client, 422, "imu.t", encoded({"imu": imu}))


def test_a_recording_needs_a_sense_and_a_sense_needs_something(client) -> None:
    for form in ({}, {"audio": None, "events": None}):
        refused(client, 422, "body", encoded(form))
    none = {"t": [], "x": [], "y": [], "p": [], "width": 34, "height": 34}
    refused(client, 422, "events", encoded({"events": none}))
    silent = {"audio": {"samples": [0.0] * 8000, "rate": 8000}}
    assert "no spikes" in refused(client, 422, "audio", encoded(silent))["problem"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_refused_in_either_form(client, value) -> None:
    body = msgspec.msgpack.encode(changed(GOOD, "audio.samples.7", value))
    refused(client, 422, "audio.samples[7]", body, MSGPACK)
    samples = np.frombuffer(PACKED["audio"]["samples"], "<f4").copy()
    samples[9] = value
    body = msgspec.msgpack.encode(changed(PACKED, "audio.samples", samples.tobytes()))
    refused(client, 422, "audio.samples[9]", body, MSGPACK)
    body = msgspec.msgpack.encode(changed(GOOD, "imu.channels.contact.0", value))
    refused(client, 422, "imu.channels.contact[0]", body, MSGPACK)


DEEP = 100_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"audio": {"samples": [0.1, 0.2',
        b'{"audio": {"samples": [NaN], "rate": 8000}}',
        b'{"audio": {"samples": [Infinity], "rate": 8000}}',
        b'{"audio": {"samples": [1e999], "rate": 8000}}',
        b'{"audio": {"samples": [0x10], "rate": 8000}}',
        b"{'audio': null}",
        b'{"audio": null} {"audio": null}',
        b'{"audio": null,}',
        b"\xff\xfe\x00",
        b'{"audio": "\xff"}',
        b'{"audio": "\\ud800"}',
        b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"x": ' * DEEP + b"1" + b"}" * DEEP,
        b'{"audio": {"rate": ' + b"9" * 5000 + b', "samples": []}}',
        b'{"events": {"t": [' + b"9" * 100_000 + b"]}}",
        b"null",
        b"[]",
        b"7",
        b"\x00" * 1000,
        pickle.dumps({"audio": None}),
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_body_that_is_broken_is_refused(client, content) -> None:
    for path in POSTS:
        answer = client.post(path, content=content, headers=JSON)
        assert answer.status_code in (400, 422), answer.text
        assert set(answer.json()["error"]) >= {"field", "problem", "limit"}
        assert len(answer.content) < 600
    assert client.post("/v1/predict", json=GOOD).status_code == 200


ARRAY_1E9, BIN_1E9, MAP_1E9 = b"\xdd\x3b\x9a\xca\x00", b"\xc6\x3b\x9a\xca\x00", b"\xdf\x3b\x9a\xca\x00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"\x81\xa5audio\x82\xa4rate\xcd\x1f\x40\xa7samples" + ARRAY_1E9,
        b"\x81\xa5audio\x82\xa4rate\xcd\x1f\x40\xa7samples" + BIN_1E9 + b"abc",
        b"\x81\xa6events\x81\xa1t" + ARRAY_1E9 + b"\x01\x02",
        b"\x81\xaarecordings" + ARRAY_1E9,
        MAP_1E9,
        b"\x81\x01\x02",
        b"\x81\xa5audio\xc7\x03\x05abc",
        b"\x81\xa5audio\xd6\xff\x00\x00\x00\x00",
        b"\x81\xa2\xff\xff\x01",
        b"\x81\xa1x" + b"\x91" * DEEP + b"\x01",
        msgspec.msgpack.encode(GOOD)[:-1],
        msgspec.msgpack.encode(GOOD) + b"\x00",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_broken_messagepack_and_a_thousand_million_that_are_only_declared_are_refused(client, content) -> None:
    for path in POSTS:
        answer = client.post(path, content=content, headers=MSGPACK)
        assert answer.status_code in (400, 422), answer.text
        assert set(answer.json()["error"]) >= {"field", "problem", "limit"}
    assert client.post("/v1/predict", json=GOOD).status_code == 200


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("audio.samples", b"abc", "audio.samples"),
        ("audio.samples", np.full(400, 2, "<f4").tobytes(), "audio.samples[0]"),
        ("events.t", b"1234567", "events.t"),
        ("events.t", b"", "events"),
        ("events.x", b"\x00\x00", "events"),
        ("events.x", np.full(600, 34, "<u2").tobytes(), "events.x[0]"),
        ("events.p", b"\x02" * 600, "events.p[0]"),
        ("events.t", np.arange(600, 0, -1).tobytes(), "events.t[1]"),
        ("events.t", np.full(600, -1).tobytes(), "events.t[0]"),
        ("imu.channels.contact", b"1234", "imu"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_packed_bytes_are_held_to_the_same_limits(client, path, value, field) -> None:
    refused(client, 422, field, msgspec.msgpack.encode(changed(PACKED, path, value)), MSGPACK)


def test_more_values_than_the_limits_are_refused_by_their_number(client) -> None:
    many = changed(PACKED, "audio.samples", bytes(4 * (limits.SAMPLES + 1)))
    assert refused(client, 422, "audio.samples", msgspec.msgpack.encode(many), MSGPACK)["limit"] == "at most 2,000,000"
    many = changed(PACKED, "events.p", bytes(limits.EVENTS + 1))
    assert refused(client, 422, "events.p", msgspec.msgpack.encode(many), MSGPACK)["limit"] == "at most 1,000,000"


def test_a_batch_has_a_least_and_a_most(client) -> None:
    for count in (0, limits.BATCH + 1):
        body = encoded({"recordings": [{"audio": None}] * count})
        assert refused(client, 422, "recordings", body, path="/v1/predict/batch")["limit"] == "1 ... 64"
    refused(client, 422, "recordings[0]", encoded({"recordings": [7]}), path="/v1/predict/batch")


KINDS = (
    "application/vnd.bentoml+pickle",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "text/plain",
    "application/jsonx",
    "",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", POSTS)
def test_other_content_types_are_not_read(client, path, kind) -> None:
    body = pickle.dumps(GOOD) if "pickle" in kind else b"--x\r\nContent-Disposition: form-data; name=audio\r\n\r\n"
    refused(client, 415, "Content-Type", body, {"Content-Type": kind}, path)


def test_bodies_may_be_gzip_and_broken_gzip_is_refused(client) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    whole = gzip.compress(encoded(GOOD))
    assert client.post("/v1/predict", content=whole, headers=headers).status_code == 200
    for broken in (b"", b"abc", whole[:-3], whole[:40], whole + b"more", whole[:60] + b"\x00" * 9 + whole[69:]):
        refused(client, 400, "body", broken, headers)
    refused(client, 415, "Content-Encoding", whole, {**JSON, "Content-Encoding": "br"})
    refused(client, 415, "Content-Encoding", whole, {**JSON, "Content-Encoding": "gzip, gzip"})


def test_a_bomb_is_refused_before_it_unpacks(client) -> None:
    bomb = gzip.compress(bytes(limits.BODY + 1))
    assert len(bomb) < 20_000
    refused(client, 413, "body", bomb, {**JSON, "Content-Encoding": "gzip"})
    bomb = gzip.compress(gzip.compress(bytes(20 * 2**20)))
    refused(client, 400, "body", bomb, {**JSON, "Content-Encoding": "gzip"})
    lying = gzip.compress(bytes(limits.BODY))[:-4] + (1000).to_bytes(4, "little")
    tracemalloc.start()
    refused(client, 400, "body", lying, {**JSON, "Content-Encoding": "gzip"})
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()


def test_a_body_that_is_too_large_is_refused(client) -> None:
    refused(client, 413, "body", b" " * (limits.BODY + 1))


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/predict/", "/v1/nothing", "/v1/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"]
)
def test_what_is_not_there_is_not_found(client, path) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]["field"] == "path"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_not_allowed(client, path, method) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["problem"] == "Method Not Allowed"


def test_of_two_equal_keys_the_last_counts_and_both_must_be_right(client) -> None:
    first, last = encoded(as_json(recording(1, "imu"))["imu"]), encoded(as_json(recording(2, "imu"))["imu"])
    answer = client.post("/v1/predict", content=b'{"imu": ' + first + b', "imu": ' + last + b"}", headers=JSON)
    wanted = client.post("/v1/predict", content=b'{"imu": ' + last + b"}", headers=JSON)
    assert answer.json()["scores"] == wanted.json()["scores"]
    refused(client, 422, "imu", b'{"imu": 7, "imu": ' + last + b"}")
