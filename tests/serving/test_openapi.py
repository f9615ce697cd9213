"""The OpenAPI document says what the service does, and /docs shows it with commands that work."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import msgspec
import numpy as np
import pytest
import schemathesis
from starlette.routing import Route
from starlette.testclient import TestClient

from snn_fusion.data.recording import Imu
from snn_fusion.data.stylus import stylus_imu
from snn_fusion.data.unipen import Stroke
from snn_fusion.serving import answers, docs_page
from snn_fusion.serving.app import ACCESS, ROUTES, create
from snn_fusion.serving.examples import example
from snn_fusion.serving.model import Model
from snn_fusion.serving.payload import Recording, signals, wired
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.tokens import Role
from tests.serving.made import CODE
from tests.serving.signing import Signer

PAGES = {"/", "/docs", "/openapi.json", "/page/{name}"}
JSON = "application/json"


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def valid(document: dict[str, Any], name: str, content: object) -> None:
    """Raises what the schema of this name says against it."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(content)


def test_document_describes_every_route_and_who_may_use_it(document: dict[str, Any]) -> None:
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    there = {
        (route.path, method)
        for route in ROUTES
        if isinstance(route, Route) and route.path not in PAGES
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert there <= described
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert (operation["security"] == []) is (ACCESS.get(path, Role.ADMIN) is None), path
            if found := re.search(r"Role: (\w+)", operation["description"]):
                assert ACCESS.get(path, Role.ADMIN) == Role[found[1].upper()], path


def test_document_is_openapi_that_schemathesis_reads(document: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(document)
    assert len(list(schema.get_all_operations())) == sum(map(len, document["paths"].values()))
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    for one in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(one)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


def test_examples_are_valid_and_get_what_they_say(document: dict[str, Any], client: TestClient) -> None:
    for path in ("/v1/predict", "/v1/predict/batch", "/v1/spikes", "/v1/pen"):
        operation = document["paths"][path]["post"]
        taken = operation["requestBody"]["content"][JSON]
        valid(document, taken["schema"]["$ref"].rpartition("/")[2], taken["example"])
        given = operation["responses"]["200"]["content"][JSON]
        answer = client.post(path, json=taken["example"])
        assert answer.status_code == 200, answer.text
        valid(document, given["schema"]["$ref"].rpartition("/")[2], answer.json())
        if "example" in given:
            compared = ("label", "scores", "margin", "steps", "senses", "rejected")
            assert [answer.json()[name] for name in compared] == [given["example"][name] for name in compared]


@pytest.mark.parametrize(
    ("path", "shape"),
    [("/health", "Health"), ("/ready", "Ready"), ("/v1/examples", "Examples"), ("/v1/examples/4", "Recording")],
)
def test_answers_have_the_shape_that_is_documented(
    path: str, shape: str, document: dict[str, Any], client: TestClient
) -> None:
    valid(document, shape, client.get(path).json())


def test_a_stream_answers_in_the_shapes_that_are_documented(document: dict[str, Any], client: TestClient) -> None:
    recording = client.get("/v1/examples/4").json()
    with client.websocket_connect("ws://localhost/v1/stream") as socket:
        socket.send_json({"start": list(recording)})
        socket.send_json({**recording, "end": True})
        *steps, last = (socket.receive_json() for _ in range(51))
    for step in steps:
        msgspec.convert(step, answers.Step)
        valid(document, "Step", step)
    valid(document, "Last", last)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"audio": {"samples": [2.0], "rate": 8000}},
        {"audio": {"samples": [0.1], "rate": 80}},
        {"audio": {"samples": "no base64", "rate": 8000}},
        {"imu": {"t": [0], "channels": {}}},
        {"events": {"t": [0], "x": [0], "y": [0], "p": [2], "width": 34, "height": 34}},
        {"smell": None},
    ],
)
def test_what_the_schema_refuses_the_service_refuses_with_a_refusal(
    broken: dict[str, Any], document: dict[str, Any], client: TestClient
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid(document, "Recording", broken)
    answer = client.post("/v1/predict", json=broken)
    assert answer.status_code == 422
    valid(document, "Refusal", answer.json())


def test_docs_is_one_page_that_needs_nothing_else_and_runs_nothing(client: TestClient) -> None:
    answer = client.get("/docs")
    assert "<script" not in answer.text and " onclick" not in answer.text and " style=" not in answer.text
    assert not re.search(r'(src|href)="(?!#|/|data:)', answer.text)
    policy = answer.headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(docs_page.STYLE.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "unsafe" not in policy
    assert f"<style>{docs_page.STYLE}</style>" in answer.text
    ids = re.findall(r' id="([^"]+)"', answer.text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', answer.text)) <= set(ids)


def test_commands_in_docs_do_what_they_show(document: dict[str, Any], client: TestClient) -> None:
    commands = re.findall(r'class="copy"[^>]*>(.*?)</pre>', client.get("/docs").text, re.DOTALL)
    assert len(commands) == len([m for methods in document["paths"].values() for m in methods])
    ran = 0
    for command in filter(lambda one: one.startswith("curl "), commands):
        words = shlex.split(html.unescape(command).replace("\\\n", " "))
        assert words[1].startswith("http://localhost/")  # as this one was asked
        path = words[1].removeprefix("http://localhost")
        if path.startswith(("/v1/predict", "/v1/spikes", "/v1/pen", "/v1/examples", "/health", "/ready")):
            body = words[words.index("-d") + 1] if "-d" in words else None
            answer = client.request("POST" if body else "GET", path, content=body, headers={"Content-Type": JSON})
            assert answer.status_code == 200, answer.text
            ran += 1
    assert ran == 8


def test_commands_in_docs_go_to_the_service_that_showed_them(service: str) -> None:
    page = httpx.get(f"{service}/docs").text
    assert f"curl {service}/health" in page and ":3000/" not in page
    assert f"{service}/api/experiments/0123456789abcdef0123456789abcdef" in page
    (stream,) = re.findall(r">(import json.*?)</pre>", page, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", html.unescape(stream)], capture_output=True, text=True, check=True)
    steps = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert steps == [*range(1, CODE.steps + 1), CODE.steps]


@pytest.mark.parametrize("host", ["x;ls", "$(ls)", "<b>", "a b", "localhost:port", "[::1", ""])
def test_a_host_that_is_none_is_in_no_command(guarded: TestClient, host: str) -> None:
    page = guarded.get("/docs", headers={"Host": host}).text
    assert "curl http://localhost/health" in page
    shown = guarded.get("/docs", headers={"Host": "[2001:db8::1]:8080"}).text
    assert "curl http://[2001:db8::1]:8080/health" in shown


@pytest.fixture(scope="module")
def guarded(small_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """With keys it may have any name."""
    signer = Signer(tmp_path_factory.mktemp("keys")).make("old")
    with TestClient(create(Settings(keys=str(signer.keys)), lambda _: small_model)) as one:
        yield one


def test_pages_cannot_be_framed_and_run_their_own_scripts_alone(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "script-src 'self'" in policy
    assert not re.search(r"<script(?![^>]*src=)|<style| on\w+=| style=|https?://", answer.text)
    for name in re.findall(r'"(/page/[^"]+)"', answer.text):
        assert client.get(name).status_code == 200


@pytest.mark.parametrize(
    "path", ["/docs.json", "/schema.json", "/page/none.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/livez"]
)
def test_nothing_else_is_there(path: str, document: dict[str, Any], client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    valid(document, "Refusal", answer.json())


def test_the_stream_asked_without_upgrade_says_that_it_is_a_websocket(client: TestClient) -> None:
    answer = client.get("/v1/stream")
    assert answer.status_code == 426 and "WebSocket" in answer.json()["error"]["limit"]


def test_an_example_is_the_same_each_time_and_another_for_each_seed(client: TestClient) -> None:
    first, again, other = (client.get(f"/v1/examples/8?seed={seed}").json() for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) == {"audio", "events", "imu"}


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [("ten", 404, "label"), ("3?seed=1000", 400, "seed"), ("3?seed=-1", 400, "seed"), ("3?seed=1e3", 400, "seed")],
)
def test_an_example_that_is_not_there_says_which_are(path: str, status: int, field: str, client: TestClient) -> None:
    answer = client.get(f"/v1/examples/{path}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


def test_an_example_for_fewer_channels_is_one_that_such_a_network_takes() -> None:
    imu = CODE.imu.model_copy(update={"channels": CODE.imu.channels[1:3]})
    code = CODE.model_copy(update={"imu": imu})
    found = example("3", code=code)
    assert list(found["imu"]["channels"]) == [one.name for one in imu.channels]
    taken = signals(wired(found, Recording), code)["imu"]
    whole = signals(wired(example("3"), Recording), CODE)["imu"]
    assert isinstance(taken, Imu) and isinstance(whole, Imu)
    np.testing.assert_array_equal(taken.values, whole.values[:, 1:3])


def test_a_drawing_is_felt_as_training_recordings_are(client: TestClient) -> None:
    rng = np.random.default_rng(0)
    strokes = [rng.normal(0, 0.004, (n, 2)).cumsum(axis=0).round(5) for n in (12, 1, 7)]
    sent = {"strokes": [{"x": s[:, 0].tolist(), "y": s[:, 1].tolist()} for s in strokes], "gap_ms": 80}
    found = client.post("/v1/pen", json=sent).json()["imu"]
    expected = stylus_imu([Stroke(s, gap_us=80_000) for s in strokes])
    assert found["t"] == expected.t.tolist()
    assert found["units"] == dict(zip(expected.channels, expected.units, strict=True))
    values = np.column_stack(list(found["channels"].values()))
    np.testing.assert_allclose(values, expected.values, atol=5e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"strokes": []}, "strokes"),
        ({"strokes": [{"x": [0.0], "y": []}]}, "strokes[0]"),
        ({"strokes": [{"x": [0.0, 3.0], "y": [0.0, 0.0]}]}, "strokes[0]"),
        ({"strokes": [{"x": [0.0], "y": [0.0]}], "sample_ms": 0}, "sample_ms"),
        ({"strokes": [{"x": [0.0], "y": [0.0]}], "gap_ms": -1}, "gap_ms"),
        ({"strokes": [{"x": ["a"], "y": [0.0]}]}, "strokes[0].x[0]"),
    ],
)
def test_a_drawing_that_means_nothing_says_where(broken: dict[str, Any], field: str, client: TestClient) -> None:
    answer = client.post("/v1/pen", json=broken)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
