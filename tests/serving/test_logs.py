"""What is logged of a request, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from snn_fusion.serving import logs
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from tests.serving.signing import ANOTHER, TONE, Signer

MARKER = "payload-that-must-not-be-logged"


class Lines(logging.Handler):
    """What a handler of the service would have written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.Json())
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]


@pytest.fixture
def lines() -> Iterator[Lines]:
    found, root = Lines(), logging.getLogger("snn_fusion")
    before = root.level
    root.addHandler(found)
    root.setLevel(logging.INFO)
    yield found
    root.removeHandler(found)
    root.setLevel(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys")).make("old")


@pytest.fixture(scope="module")
def client(small_model: Model, made: Signer) -> Iterator[TestClient]:
    with TestClient(create(Settings(keys=str(made.keys)), lambda _: small_model)) as one:
        yield one


def test_a_request_is_one_line_that_says_who_did_what(client: TestClient, made: Signer, lines: Lines) -> None:
    client.post("/v1/predict", json=TONE, headers={**made.bearer(), "X-Request-ID": "a-1"})
    (line,) = lines.all
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        **{"level": "info", "logger": "snn_fusion.serving", "event": "request", "request_id": "a-1"},
        **{"method": "POST", "route": "/v1/predict", "status": 200},
        **{"subject": "anna", "role": "predictor", "model": "small"},
    }


def test_a_refused_request_says_why_and_names_nobody_unproven(client: TestClient, lines: Lines) -> None:
    client.post("/v1/predict", json=TONE)
    (line,) = lines.all
    assert (line["status"], line["subject"], line["role"]) == (401, None, None)
    assert line["refused"] == "is missing: no token was sent"


def test_a_stream_is_one_line(client: TestClient, made: Signer, lines: Lines) -> None:
    with client.websocket_connect("/v1/stream", headers=made.bearer()) as stream:
        stream.send_json({"start": ["audio"], **TONE, "end": True})
        while not stream.receive_json().get("final"):
            pass
    (line,) = lines.all
    assert (line["method"], line["route"], line["status"], line["subject"]) == ("WS", "/v1/stream", 101, "anna")


def test_neither_tokens_nor_payloads_nor_queries_are_logged(client: TestClient, made: Signer, lines: Lines) -> None:
    token = made.token()
    for sent in (token, f"{token}x", f"x.{token}", MARKER):
        for body in (TONE, {MARKER: 1}, {"audio": {"samples": MARKER, "rate": 8000}}):
            headers = {"Authorization": f"Bearer {sent}", "X-Request-ID": f"{MARKER} {token}", "User-Agent": MARKER}
            client.post("/v1/predict", params={"token": token, MARKER: 1}, json=body, headers=headers)
    client.get(f"/{MARKER}")
    text = "\n".join(lines.written)
    assert len(lines.written) == 13
    assert MARKER not in text
    assert not [piece for piece in token.split(".") if piece in text]


def test_a_crash_is_logged_with_its_place_and_correlation_id_but_not_with_its_text(
    client: TestClient, made: Signer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        try:
            float(MARKER)
        except ValueError as error:
            raise RuntimeError(MARKER) from error

    monkeypatch.setattr("snn_fusion.serving.answering.predict", crash)
    answer = client.post("/v1/predict", json=ANOTHER, headers=made.bearer())
    crashed, request = lines.all
    assert crashed["request_id"] == request["request_id"] == answer.headers["x-request-id"]
    assert (crashed["level"], crashed["exception"]) == ("error", "builtins.RuntimeError")
    assert crashed["because"]["exception"] == "builtins.ValueError"
    assert crashed["at"][-1].endswith(" crash")
    assert request["status"] == 500
    assert MARKER not in "".join(lines.written)
    assert MARKER not in answer.text


def test_an_answer_that_breaks_off_is_cut_and_logged(
    client: TestClient, made: Signer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise RuntimeError(MARKER)

    monkeypatch.setattr("snn_fusion.serving.app.reply", lambda *_: Broken())
    with pytest.raises(ConnectionAbortedError):
        client.post("/v1/predict", json=TONE, headers=made.bearer())
    crashed, request = lines.all
    assert crashed["exception"] == "builtins.RuntimeError"
    assert request["request_id"] == crashed["request_id"]


def test_nothing_in_a_line_can_start_another(lines: Lines) -> None:
    logs.log.info('a\n{"event": "forged"}', extra={"fields": {"subject": "b\r\nc"}})
    assert "\n" not in lines.written[0]
    assert lines.all[0]["event"].startswith("a\n")
