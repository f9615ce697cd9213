"""Who gets through to which route. A service that really runs: test_guarded_service.py."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from snn_fusion.errors import BadInput
from snn_fusion.serving import loopback
from snn_fusion.serving.app import ACCESS, ROUTES, create
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.tokens import Role
from tests.serving.conftest import LOCAL
from tests.serving.running import free_port
from tests.serving.signing import ANOTHER, TONE, Signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "revoked").write_text("lost\n")
    return Signer(folder).make("old").make("new", "RS256")


def client(small_model: Model, **settings: Any) -> TestClient:
    """Without keys it is on this computer; with keys it may be anywhere."""
    headers = {"Host": "snn.example"} if "keys" in settings else LOCAL
    return TestClient(create(Settings(**settings), lambda _: small_model), headers=headers)


@pytest.fixture(scope="module")
def guarded(small_model: Model, made: Signer) -> Iterator[TestClient]:
    with client(small_model, keys=str(made.keys), revoked=str(made.folder / "revoked")) as one:
        yield one


@pytest.fixture(scope="module")
def open_to_all(small_model: Model) -> Iterator[TestClient]:
    with client(small_model) as one:
        yield one


def test_every_route_says_in_the_table_who_may_use_it() -> None:
    assert {getattr(route, "path", "?") for route in ROUTES} <= set(ACCESS)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_anyone_may_ask_whether_it_lives(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_a_predictor_gets_an_answer_and_nobody_else_does(guarded: TestClient, made: Signer) -> None:
    expected = {"predictor": 200, "reviewer": 200, "admin": 200, "viewer": 403}
    found = {
        role: guarded.post("/v1/predict", json=TONE, headers=made.bearer(role=role)).status_code for role in expected
    }
    assert found == expected
    missing = guarded.post("/v1/predict", json=TONE)
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
    assert "no token was sent" in missing.json()["error"]["problem"]


def test_a_role_that_is_not_enough_is_told_which_is(guarded: TestClient, made: Signer) -> None:
    error = guarded.post("/v1/spikes", json=TONE, headers=made.bearer(role="viewer")).json()["error"]
    assert error["field"] == "role"
    assert error["problem"] == "viewer is not enough for /v1/spikes"
    assert error["limit"] == "predictor or higher"


def test_a_route_that_is_not_in_the_table_needs_admin(
    small_model: Model, made: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn_fusion.serving.app.ROUTES", [*ROUTES, Route("/forgotten", ROUTES[-1].endpoint)])
    with client(small_model, keys=str(made.keys)) as one:
        expected = {"viewer": 403, "reviewer": 403, "admin": 200}
        assert {r: one.get("/forgotten", headers=made.bearer(role=r)).status_code for r in expected} == expected
        assert one.get("/forgotten").status_code == 401


def test_metrics_and_decisions_about_models_are_not_for_everyone() -> None:
    assert ACCESS["/metrics"] == Role.ADMIN
    assert all(role == Role.REVIEWER for path, role in ACCESS.items() if path.startswith("/api/models/{version}"))
    assert ACCESS["/api/models/reload"] == Role.ADMIN


@pytest.mark.parametrize("kid", ["old", "new"])
def test_tokens_of_all_keys_of_a_rotation_are_taken(guarded: TestClient, made: Signer, kid: str) -> None:
    assert guarded.post("/v1/predict", json=TONE, headers=made.bearer(kid)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("Authorization", "Basic YTpi")], "is not of the kind Bearer"),
        ([("Authorization", "Bearer ")], "is not of the kind Bearer"),
        ([("Authorization", "Bearer a.b.c")], "is not a JSON Web Token"),
        ([("Authorization", "Bearer " + "x" * 8193)], "has 8,193 characters"),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer b")], "comes more than once"),
    ],
)
def test_what_is_no_token_is_refused(guarded: TestClient, headers: list[tuple[str, str]], message: str) -> None:
    answer = guarded.post("/v1/predict", json=TONE, headers=headers)
    assert answer.status_code == 401
    assert message in answer.json()["error"]["problem"]


def test_a_token_in_the_query_is_not_looked_at(guarded: TestClient, made: Signer) -> None:
    answer = guarded.post("/v1/predict", params={"token": made.token(), "access_token": made.token()}, json=TONE)
    assert answer.status_code == 401


def test_a_revoked_token_is_refused(guarded: TestClient, made: Signer) -> None:
    answer = guarded.post("/v1/predict", json=TONE, headers=made.bearer(jti="lost"))
    assert (answer.status_code, answer.json()["error"]["problem"]) == (401, "is revoked")


def test_a_refused_body_is_not_read(guarded: TestClient) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b"", "headers": []}
    asyncio.run(guarded.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


@pytest.mark.parametrize("path", ["/v1/predict/", "/v1//predict", "/v1/predict/../predict", "//v1/predict"])
def test_no_spelling_of_a_path_gets_past_the_table(guarded: TestClient, path: str) -> None:
    answer = guarded.post(path, json=TONE, follow_redirects=True)
    assert answer.status_code in (401, 404)


@pytest.mark.parametrize("path", ["/v1/predict/", "/health/", "/docs/", "/v1/models/"])
def test_a_slash_too_many_leads_nowhere(open_to_all: TestClient, path: str) -> None:
    answer = open_to_all.get(path, follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "path")


def test_who_may_not_ask_is_told_that_rather_than_the_type(guarded: TestClient) -> None:
    assert guarded.post("/v1/predict", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 401


def test_a_wrong_method_needs_the_routes_role_too(guarded: TestClient, made: Signer) -> None:
    assert guarded.delete("/v1/predict").status_code == 401
    assert guarded.delete("/v1/predict", headers=made.bearer()).status_code == 405


def test_too_many_requests_get_429_and_when_to_come_again(small_model: Model, made: Signer) -> None:
    with client(small_model, keys=str(made.keys), rate=0.1, burst=2) as one:
        answers = [one.post("/v1/predict", json=TONE, headers=made.bearer()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 9 <= int(answers[-1].headers["retry-after"]) <= 10
        assert answers[-1].json()["error"]["limit"] == "0.1 a second, 2 at once"
        assert one.post("/v1/predict", json=TONE, headers=made.bearer(sub="bert")).status_code == 200
        assert one.get("/health").status_code == 200


def test_a_batch_counts_as_many_requests_as_it_holds_recordings(small_model: Model, made: Signer) -> None:
    with client(small_model, keys=str(made.keys), rate=0.1, burst=2) as one:
        batch = one.post("/v1/predict/batch", json={"recordings": [TONE] * 4}, headers=made.bearer())
        assert [answer["label"] for answer in batch.json()["answers"]]
        refused = one.post("/v1/predict", json=TONE, headers=made.bearer())
        assert refused.status_code == 429
        assert 29 <= int(refused.headers["retry-after"]) <= 30


def test_without_redis_a_write_is_refused_and_a_prediction_is_not(
    small_model: Model, made: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote = Route("/api/models/{version}/promote", ROUTES[-1].endpoint, methods=["POST"])
    monkeypatch.setattr("snn_fusion.serving.app.ROUTES", [*ROUTES, promote])
    with client(small_model, keys=str(made.keys), redis=f"redis://127.0.0.1:{free_port()}") as one:
        headers = made.bearer(role="reviewer")
        assert one.post("/v1/predict", json=TONE, headers=headers).status_code == 200
        refused = one.post("/api/models/3/promote", headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_a_stream_needs_a_token_and_is_refused_before_it_opens(guarded: TestClient, made: Signer) -> None:
    for headers, status in (({}, 401), (made.bearer(role="viewer"), 403)):
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            guarded.websocket_connect("/v1/stream", headers=headers),
        ):
            pass
        assert refused.value.status_code == status
        assert refused.value.json()["error"]["request_id"] == refused.value.headers["x-request-id"]
    with guarded.websocket_connect("/v1/stream", headers=made.bearer()) as stream:
        stream.send_json({"start": ["audio"], **TONE, "end": True})
        assert stream.receive_json()["steps"] == 1


def test_a_page_sends_its_token_as_a_protocol_of_the_stream(guarded: TestClient, made: Signer) -> None:
    protocols = ["snn-fusion", f"bearer.{made.token()}"]
    with guarded.websocket_connect("/v1/stream", subprotocols=protocols) as stream:
        assert stream.accepted_subprotocol == "snn-fusion"


def test_every_answer_has_a_correlation_id_and_says_it_in_errors(guarded: TestClient) -> None:
    found = guarded.get("/health", headers={"X-Request-ID": "line-4.run_7"})
    assert found.headers["x-request-id"] == "line-4.run_7"
    for insane in ("", "a b", "x" * 65, "<script>", 'a"b'):
        answer = guarded.get("/nothing", headers={"X-Request-ID": insane})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
    assert guarded.get("/health").headers["x-request-id"] != guarded.get("/health").headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health", "/nothing", "/v1/predict"])
def test_every_answer_has_the_security_headers(guarded: TestClient, path: str) -> None:
    headers = guarded.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


def test_a_crash_gives_500_with_the_correlation_id_and_nothing_else(
    guarded: TestClient, made: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snn_fusion.serving.answering.predict", lambda *_: 1 // 0)
    answer = guarded.post("/v1/predict", json=ANOTHER, headers=made.bearer())
    assert answer.status_code == 500
    error = {"field": "service", "problem": "failed", "limit": "report it with the request_id"}
    assert answer.json() == {"error": error | {"request_id": answer.headers["x-request-id"]}}


def test_without_keys_no_token_is_asked_for_on_this_computer(open_to_all: TestClient) -> None:
    assert open_to_all.post("/v1/predict", json=TONE).status_code == 200
    assert open_to_all.get("/health", headers={"Host": "[::1]:3000"}).status_code == 200
    same = {"Host": "localhost:3000", "Origin": "http://localhost:3000"}
    assert open_to_all.post("/v1/predict", json=TONE, headers=same).status_code == 200


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Host": "rebound.example"}, "Host"),
        ({"Host": "localhost.example"}, "Host"),
        ({"Host": "127.0.0.1.example:80"}, "Host"),
        ({"Host": "192.168.0.7"}, "Host"),
        ({"Host": "[::1"}, "Host"),
        ({"Host": ""}, "Host"),
        ({"Origin": "http://evil.example"}, "Origin"),
        ({"Origin": "http://localhost:8000"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
    ],
)
def test_without_keys_other_sites_in_a_local_browser_are_refused(
    open_to_all: TestClient, headers: dict[str, str], field: str
) -> None:
    answer = open_to_all.post("/v1/predict", json=TONE, headers=headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (403, field)
    with pytest.raises(WebSocketDenialResponse) as refused:
        open_to_all.websocket_connect("/v1/stream", headers=headers).__enter__()
    assert refused.value.json()["error"]["field"] == field


def test_without_keys_a_request_over_another_address_is_refused(small_model: Model) -> None:
    app = create(Settings(), lambda _: small_model)
    outside = TestClient(app, "http://192.168.0.7", headers=LOCAL)
    behind_a_proxy = TestClient(app, headers=LOCAL, client=("203.0.113.9", 4711))
    for one, side in ((outside, "server"), (behind_a_proxy, "client")):
        with one:
            answer = one.get("/health")
            assert (answer.status_code, answer.json()["error"]["field"]) == (403, side)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_without_keys_nothing_but_loopback_may_be_listened_on(host: str) -> None:
    with pytest.raises(BadInput, match="can be reached from outside"):
        loopback.check_hosts(["127.0.0.1", host])
    loopback.check_hosts(["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost"])


def test_a_process_knows_what_it_listens_on() -> None:
    with socket.create_server(("127.0.0.5", 0)) as one, socket.create_connection(one.getsockname()):
        assert "127.0.0.5" in loopback.listening()
    assert "127.0.0.5" not in loopback.listening()


def test_without_keys_a_service_on_another_address_does_not_start(
    small_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "listening", lambda: {"0.0.0.0"})
    with pytest.raises(BadInput, match=r"0.0.0.0 can be reached from outside.*SNN_FUSION_SERVE_KEYS"):
        client(small_model).__enter__()
