"""What a refusal says: the field, what was sent there, and what that field may hold."""

from __future__ import annotations

import json

import pytest

from tests.serving.made import encoded
from tests.serving.test_bad_input import GOOD, changed, refused


@pytest.mark.parametrize(
    ("path", "value", "field", "problem", "limit"),
    [
        ("events.x.3", 2**70, "events.x[3]", str(2**70), "0 ... 33"),
        ("events.y.3", -(2**70), "events.y[3]", str(-(2**70)), "0 ... 33"),
        ("events.p.3", 2**64, "events.p[3]", str(2**64), "0 ... 1"),
        ("events.t.3", 10**30, "events.t[3]", str(10**30), "0 ... 9,223,372,036,854,775,807"),
        ("imu.t.3", -(10**30), "imu.t[3]", str(-(10**30)), "0 ... 9,223,372,036,854,775,807"),
        ("events.x.3", -1, "events.x[3]", "-1", "0 ... 33"),
        ("audio.samples.3", 1e300, "audio.samples[3]", "1e+300", "-3.4e+38 ... 3.4e+38, which 32 bits hold"),
        ("imu.channels.acc_x.3", -1e39, "imu.channels.acc_x[3]", "-1e+39", "-3.4e+38 ... 3.4e+38, which 32 bits hold"),
        ("audio.rate", "8000", "audio.rate", "is `str`", "`int`"),
        ("audio", [], "audio", "is `array`", "`object | null`"),
        ("audio.rate", None, "audio.rate", "is missing", "required"),
        ("audio.gain", 1, "audio.gain", "is not known", "of samples, rate"),
        ("smell", 1, "smell", "is not known", "of audio, events, imu"),
        ("imu.kind", 1, "imu.kind", "is not known", "of t, channels, units"),
        ("events.t.3", 10**5000, "events.t[3]", "is out of range", "a whole number of 64 bits"),
    ],
    ids=lambda value: str(value)[:24] if not isinstance(value, int) else "",
)
def test_a_refusal_shows_what_was_sent_and_the_limit_of_that_field(client, path, value, field, problem, limit) -> None:
    body = json.dumps(changed(GOOD, path, 0 if value == 10**5000 else value)).encode()
    if value == 10**5000:  # which Python would not write
        body = body.replace(b'"t": [', b'"t": [0, 0, 0, ' + b"9" * 5000 + b", ", 1)
    error = refused(client, 422, field, body)
    assert (error["problem"], error["limit"]) == (problem, limit)


def test_a_number_that_is_not_finite_is_shown_with_its_limit(client) -> None:
    for text in (b"1e999", b"-1e999"):
        body = encoded(GOOD).replace(b'"samples":[', b'"samples":[' + text + b",", 1)
        error = refused(client, 422, "audio.samples[0]", body)
        assert (error["problem"], error["limit"]) == ("is out of range", "a finite number")


def test_in_a_batch_a_field_is_named_with_its_recording(client) -> None:
    body = encoded({"recordings": [GOOD, {"audio": {"samples": [0.0], "gain": 1}}]})
    error = refused(client, 422, "recordings[1].audio.gain", body, path="/v1/predict/batch")
    assert error["limit"] == "of samples, rate"


def test_channels_that_the_network_does_not_take_are_named_with_those_that_it_needs(client) -> None:
    one = changed(GOOD, "imu.channels.ax", [0.0])
    error = refused(client, 422, "imu.channels", encoded(one))
    assert (error["problem"], error["limit"]) == ("holds ax, not taken", "needs acc_x, acc_y, turn_rate, contact")
    other = changed(one, "imu.channels.contact", None)
    assert refused(client, 422, "imu.channels", encoded(other))["problem"] == "lacks contact; holds ax, not taken"
    many = changed(GOOD, "imu.channels", GOOD["imu"]["channels"] | {f"{'c' * 500}{i}": [] for i in range(60)})
    assert refused(client, 422, "imu.channels", encoded(many))["problem"].endswith(", ..., not taken")
