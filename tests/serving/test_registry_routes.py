"""Routes to a real registry: what they show, who may decide, what is served after it, and that predictions go on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from snn_fusion.config import Params
from snn_fusion.registry import ledger, versions
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import URI, connect
from snn_fusion.serving import registry_routes
from snn_fusion.serving.app import create
from snn_fusion.serving.keys import make_key
from snn_fusion.serving.model import Model, float_model
from snn_fusion.serving.records import Records
from snn_fusion.serving.sample import as_json
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.tokens import Role, issue
from snn_fusion.serving.warm import made
from snn_fusion.workspace import Workspace
from tests.registry.conftest import empty_store, params, put_data, put_evaluation, put_network, takes
from tests.serving.running import free_port
from tests.serving.spans import attributes, collector, until

__all__ = ["empty_store", "params", "takes"]  # fixtures


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, takes: Path, params: Params
) -> Iterator[Workspace]:
    """Two versions, registered by anna; the second, better one is champion."""
    ws = Workspace(tmp_path_factory.mktemp("registry") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(ws.root))
        patch.delenv(URI, raising=False)
        patch.setenv("SNN_FUSION_USER", "anna")
        ws.path("mlflow").mkdir(parents=True)
        ws.path("mlflow", "mlflow.db").write_bytes(empty_store.read_bytes())
        put_data(ws, takes)
        for seed, mistakes in ((1, 40), (2, 10)):
            put_network(ws, params, seed=seed)
            put_evaluation(ws, {"n3": mistakes})
            register(params, ws)
            assert promote(params, ws)["promoted"]
        yield ws


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "test", "EdDSA")


@pytest.fixture(scope="module")
def client(home: Workspace, keys: tuple[Path, Path], params: Params) -> Iterator[TestClient]:
    """A service of the champion that asks for tokens."""

    def load(settings: Settings) -> Model:
        version = versions.find(connect(home), "snn-fusion", settings.model)
        return float_model(versions.graph_folder(version, home), version.number)

    app = create(Settings(keys=str(keys[1])), load)
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def bearer(keys: tuple[Path, Path]) -> dict[str, dict[str, str]]:
    """Headers of each who asks."""
    who = {"eve": Role.VIEWER, "pete": Role.PREDICTOR, "anna": Role.REVIEWER, "bert": Role.REVIEWER, "root": Role.ADMIN}
    tokens = {name: issue(keys[0], name, role, 1, "snn-fusion", "snn-fusion").token for name, role in who.items()}
    return {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


Bearer = dict[str, dict[str, str]]


def problem(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def test_every_version_is_shown_with_its_aliases_and_which_is_served(client: TestClient, bearer: Bearer) -> None:
    found = client.get("/v1/models", headers=bearer["eve"]).json()
    assert found["served"]["version"] == "2" and found["served"]["arithmetic"] == "float"
    assert [(one["version"], one["aliases"], one["served"]) for one in found["models"]] == [
        ("2", ["champion"], True),
        ("1", [], False),
    ]
    assert found["models"][0]["digest"] == found["served"]["digest"] and found["models"][0]["registered_by"] == "anna"


def test_experiments_come_page_by_page_each_with_all_that_was_logged(client: TestClient, bearer: Bearer) -> None:
    seen: list[Any] = []
    asked: dict[str, Any] = {"limit": 1}
    while True:
        found = client.get("/api/experiments", params=asked, headers=bearer["eve"]).json()
        assert len(found["experiments"]) <= 1
        seen += found["experiments"]
        if not found["next_page"]:
            break
        asked["page"] = found["next_page"]
    all_at_once = client.get("/api/experiments", headers=bearer["eve"]).json()["experiments"]
    assert [one["id"] for one in seen] == [one["id"] for one in all_at_once] and len(seen) >= 2
    run_id = client.get("/v1/models", headers=bearer["eve"]).json()["models"][0]["experiment"]
    one = client.get(f"/api/experiments/{run_id}", headers=bearer["eve"]).json()
    assert one["params"]["network.joint"] == "9" and one["tags"]["registered_by"] == "anna"
    assert one["metrics"] and one["status"] == "FINISHED"


def test_benchmarks_are_those_of_the_workspace_else_those_that_were_registered(
    client: TestClient, bearer: Bearer, home: Workspace
) -> None:
    found = client.get("/api/benchmarks", headers=bearer["eve"]).json()
    assert found["source"] == "workspace" and "akida" in found["targets"]
    home.path("compared").rename(home.path("elsewhere"))
    try:
        registered = client.get("/api/benchmarks", headers=bearer["eve"]).json()
    finally:
        home.path("elsewhere").rename(home.path("compared"))
    assert registered == found | {"source": "version 2"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/experiments/abc", "id"),
        ("/api/experiments/" + "g" * 32, "id"),
        ("/api/experiments/" + ".." * 16, "id"),
        ("/api/experiments?limit=0", "limit"),
        ("/api/experiments?limit=1e9", "limit"),
        ("/api/experiments?page=", "page"),
        ("/api/experiments?page=../../etc", "page"),
        ("/api/experiments?page=bm9uc2Vuc2U", "page"),
    ],
)
def test_what_is_no_id_is_refused_by_name(client: TestClient, bearer: Bearer, path: str, field: str) -> None:
    answer = client.get(path, headers=bearer["eve"])
    assert answer.status_code == (400 if "?" in path else 422)
    assert problem(answer)["field"] == field and problem(answer)["limit"]


@pytest.mark.parametrize("version", ["0", "-1", "champion", "..%2f..%2fetc", "1%20", "99999999999"])
@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_what_is_no_version_can_neither_be_promoted_nor_rolled_back(
    client: TestClient, bearer: Bearer, version: str, what: str
) -> None:
    assert client.post(f"/api/models/{version}/{what}", headers=bearer["bert"]).status_code in (404, 422)


def test_unknown_versions_and_experiments_are_404(client: TestClient, bearer: Bearer) -> None:
    assert client.get("/api/experiments/" + "0" * 32, headers=bearer["eve"]).status_code == 404
    for what in ("promote", "rollback"):
        answer = client.post(f"/api/models/77/{what}", headers=bearer["bert"])
        assert answer.status_code == 404 and "no version or alias '77'" in problem(answer)["problem"]


def test_nobody_promotes_their_own_and_only_reviewers_promote(client: TestClient, bearer: Bearer) -> None:
    own = client.post("/api/models/1/promote", headers=bearer["anna"])
    assert own.status_code == 403 and problem(own)["problem"] == "was registered by you"
    for who in ("eve", "pete"):
        assert client.post("/api/models/1/promote", headers=bearer[who]).status_code == 403
    assert client.post("/api/models/reload", headers=bearer["bert"]).status_code == 403


def test_a_rollback_is_recorded_with_who_asked_and_served_at_once_to_those_who_ask_after_it(
    client: TestClient, bearer: Bearer, home: Workspace, params: Params
) -> None:
    body = as_json(made(params.encoding))
    before = client.post("/v1/predict", json=body, headers=bearer["pete"]).json()["model"]
    answer = client.post("/api/models/2/rollback", headers={**bearer["bert"], "X-Request-ID": "order-21"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["rolled_back"], found["version"]) == ("2", "1")
    assert found["serving"]["reloaded"] and found["serving"]["version"] == "1"
    after = client.post("/v1/predict", json=body, headers=bearer["pete"]).json()["model"]
    assert (before["version"], after["version"]) == ("2", "1") and before["digest"] != after["digest"]
    decision = ledger.read(home.path(RECORD))[-1].body
    assert (decision["who"], decision["request_id"]) == ("bert", "order-21")


def test_the_command_that_decides_is_a_span_of_the_request_that_asked(
    client: TestClient, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: Any = client.app
    with collector() as (endpoint, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with TestClient(create(loads.state.service.settings, loads.state.reload.load)) as traced:
            answer = traced.post("/api/models/1/promote", headers={**bearer["bert"], "X-Request-ID": "order-23"})
            assert answer.status_code == 200, answer.text
        request = until(spans, lambda one: one.name == "POST /api/models/{version}/promote")
        command = until(spans, lambda one: one.name == "snn-fusion promote")
    assert (command.trace_id, command.parent_span_id) == (request.trace_id, request.span_id)
    assert attributes(command) == {"request_id": "order-23"}


def test_what_the_record_does_not_allow_is_a_conflict(client: TestClient, bearer: Bearer, home: Workspace) -> None:
    path = home.path(RECORD)
    whole = path.read_text()
    path.write_text(whole.replace('"who": "anna"', '"who": "eve"', 1))
    try:
        refused = client.post("/api/models/1/promote", headers=bearer["bert"])
    finally:
        path.write_text(whole)
    assert refused.status_code == 409 and "does not follow from the line before" in problem(refused)["problem"]


def test_a_reload_that_fails_leaves_the_model_that_is_served(client: TestClient, bearer: Bearer) -> None:
    version = client.get("/v1/models", headers=bearer["eve"]).json()["served"]["version"]
    app: Any = client.app
    real, app.state.reload.load = app.state.reload.load, lambda settings: float_model(Path("/nowhere"), "0")
    try:
        answer = client.post("/api/models/reload", headers=bearer["root"])
    finally:
        app.state.reload.load = real
    assert answer.status_code == 409 and "missing" in answer.json()["why"]
    assert client.get("/v1/models", headers=bearer["eve"]).json()["served"]["version"] == version
    assert client.post("/api/models/reload", headers=bearer["root"]).json()["reloaded"] is False  # it is the newest


def test_without_mlflow_these_routes_are_503_and_predictions_go_on(
    client: TestClient, bearer: Bearer, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URI, f"http://user:secret@127.0.0.1:{free_port()}")
    for path in ("/v1/models", "/api/experiments", "/api/experiments/" + "0" * 32):
        answer = client.get(path, headers=bearer["eve"])
        assert answer.status_code == 503 and answer.headers["Retry-After"] and "secret" not in answer.text
    assert client.post("/api/models/2/promote", headers=bearer["bert"]).status_code == 503
    answer = client.post("/v1/predict", json=as_json(made(params.encoding)), headers=bearer["pete"])
    assert answer.status_code == 200


def test_a_registry_that_hangs_is_given_up_and_holds_nobody_else(
    client: TestClient, bearer: Bearer, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(registry_routes, "READ_S", 0.3)
    monkeypatch.setattr(Records, "models", lambda self: let_go.wait(20))
    waiting = threading.Thread(target=lambda: client.get("/v1/models", headers=bearer["eve"]))
    waiting.start()
    body = json.dumps(as_json(made(params.encoding)))
    headers = bearer["pete"] | {"Content-Type": "application/json"}
    assert client.post("/v1/predict", content=body, headers=headers).status_code == 200
    started = time.monotonic()
    answer = client.get("/v1/models", headers=bearer["eve"])
    let_go.set()
    waiting.join()
    assert answer.status_code == 503 and "did not answer in 0.3 s" in problem(answer)["problem"]
    assert time.monotonic() - started < 10
