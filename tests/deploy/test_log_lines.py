"""Real lines: of the service, of nginx before it, of the pipeline's commands. What is in them, and what never is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from snn_fusion.log_lines import CONTEXT
from tests.data.wav_files import tone_with
from tests.deploy.front import Front, front
from tests.deploy.log_schema import problems, stored, unfit
from tests.http_server import http_server
from tests.serving.conftest import small_graph
from tests.serving.running import free_port, served
from tests.serving.signing import TONE, Signer
from tests.serving.spans import attributes, collector, until

__all__ = ["small_graph"]  # a fixture
CLI = Path(sys.executable).parent / "snn-fusion"
PASSWORD = "planted-password-of-redis"
QUERY = "planted-in-a-query"
PAYLOAD = "planted-in-a-payload"
REGISTRY = "planted-password-of-the-registry"


@dataclass(frozen=True)
class Running:
    """The service, and nginx before it and before a replica that is down."""

    front: Front
    log: Path
    keys: Signer
    spans: list[Any]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def line(self, request_id: str) -> dict[str, Any]:
        """Of a request, which the service logs once its answer is out."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for line in self.lines():
                if line.get("request_id") == request_id and line["event"] == "request":
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line of {request_id}")

    def predict(self, **headers: str) -> httpx.Response:
        with self.front.client() as client:
            return client.post("/v1/predict", json=TONE, headers={**self.keys.bearer(), **headers})


@pytest.fixture(scope="module")
def running(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    keys, home = Signer(tmp_path_factory.mktemp("keys")).make("old"), tmp_path_factory.mktemp("home")
    redis = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"  # nobody is there
    with collector() as (endpoint, spans), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with (
            served(small_graph, home, keys=keys.keys, redis=redis) as url,
            front(tmp_path_factory.mktemp("nginx"), [int(url.rsplit(":", 1)[1]), free_port()]) as nginx,
        ):
            yield Running(nginx, home / "service.log", keys, spans)


def test_a_harmless_correlation_id_goes_through_nginx_and_service_into_the_answer(running: Running) -> None:
    answer = running.predict(**{"X-Request-ID": "order-17.b"})
    assert answer.status_code == 200 and answer.headers["X-Request-ID"] == "order-17.b"
    assert running.front.line("order-17.b")["status"] == 200
    line = running.line("order-17.b")
    assert (line["route"], line["status"]) == ("/v1/predict", 200)


@pytest.mark.parametrize("given", ['x", "status": 1', "a b", "a" * 65, "../x"])
def test_any_other_one_is_replaced_by_nginx(running: Running, given: str) -> None:
    answer = running.predict(**{"X-Request-ID": given})
    found = answer.headers["X-Request-ID"]
    assert answer.status_code == 200 and found != given and len(found) == 32
    assert running.front.line(found)["status"] == 200
    assert running.line(found)["route"] == "/v1/predict"


def test_every_line_of_service_and_nginx_is_as_the_schema_says_and_fits_the_index(running: Running) -> None:
    with running.front.client() as client:
        for path in ("/health", "/nothing", "/docs", "/kibana/", "/a%22b%0ac"):
            client.get(path)
        client.post("/v1/predict", content=b"{", headers=running.keys.bearer())
        client.post("/v1/predict", content=b" " * (17 << 20), headers=running.keys.bearer())  # nginx refuses it
    running.predict()
    time.sleep(0.5)
    both = {"nginx": running.front.lines(), "app-1": running.lines()}
    assert len(both["nginx"]) >= 7 and len(both["app-1"]) >= 5
    assert {401, 404, 413} <= {one["status"] for one in both["nginx"]}
    for service, lines in both.items():
        for line in lines:
            assert problems(line) == [], line
            event = stored(json.dumps(line), service)
            assert unfit(event) == [] and event["service"] == service, event
            assert "tags" not in event and event["event"] == line["event"]
    assert any(line["ms"] > 0 for line in both["nginx"])


def test_a_trace_goes_on_from_the_client_through_nginx_into_the_service(running: Running) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    running.predict(traceparent=f"00-{trace}-{parent}-01", **{"X-Request-ID": "traced-1"})
    span = until(running.spans, lambda one: one.trace_id.hex() == trace and one.name == "POST /v1/predict")
    assert span.parent_span_id.hex() == parent
    assert attributes(span)["request_id"] == "traced-1"


def test_a_replica_that_is_down_shows_in_the_line_of_the_request_that_met_it(running: Running) -> None:
    time.sleep(2.1)  # nginx leaves it alone for 2 s
    for number in range(4):
        assert running.predict(**{"X-Request-ID": f"retried-{number}"}).status_code == 200
    lines = [running.front.line(f"retried-{number}") for number in range(4)]
    assert "502, 200" in {one["upstream_status"] for one in lines}


def test_no_token_password_query_or_payload_is_in_any_log_of_service_and_nginx(running: Running) -> None:
    token = running.keys.token()
    time.sleep(2.1)
    with running.front.client() as client:
        for sent in (token, f"{token}x", PAYLOAD):
            headers = {"Authorization": f"Bearer {sent}", "User-Agent": PAYLOAD, "Referer": f"https://x/?{QUERY}"}
            for body in (json.dumps(TONE | {PAYLOAD: 1}).encode(), PAYLOAD.encode(), bytes(range(256))):
                client.post(f"/v1/predict?token={QUERY}", content=body, headers=headers)
        client.get(f"/airflow/?token={QUERY}")  # not there: 502
        client.get("/mlflow/", auth=("admin", REGISTRY))
        client.post(f"/v1/predict?token={QUERY}", content=b" " * (17 << 20), headers={"Cookie": PAYLOAD})  # too large
        (running.front.folder / "body").rmdir()  # nginx cannot write: what it says of that would quote the request
        broken = client.post(f"/v1/predict?token={QUERY}", content=PAYLOAD.encode() * 9999)
        (running.front.folder / "body").mkdir()
        assert broken.status_code == 500
    time.sleep(0.5)
    said = running.front.said + running.log.read_text()
    statuses = {one["status"] for one in (*running.front.lines(), *running.lines()) if "status" in one}
    assert {200, 400, 401, 413, 500, 503} <= statuses
    for planted in (*token.split("."), PASSWORD, QUERY, PAYLOAD, REGISTRY):
        assert planted not in said


# --- commands of the pipeline ---


@pytest.fixture
def registry() -> Iterator[str]:
    """The address of an MLflow that refuses everybody, repeating what it was sent."""

    def refuse(_method: str, _path: str, _body: bytes) -> tuple[int, bytes]:
        return 401, json.dumps({"error_code": "PERMISSION_DENIED", "message": "you may not"}).encode()

    with http_server(refuse) as url:
        yield url.removeprefix("http://")


def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "MLFLOW", "SNN_FUSION", "OTEL"))}
    environment = {**kept, "SNN_FUSION_HOME": str(home), **variables}
    return subprocess.run([str(CLI), *arguments], env=environment, capture_output=True, text=True, timeout=120)


AIRFLOW = {
    "SNN_FUSION_LOG": "json",
    "SNN_FUSION_REQUEST_ID": "order-18",
    "AIRFLOW_CTX_DAG_ID": "retrain",
    "AIRFLOW_CTX_TASK_ID": "import",
    "AIRFLOW_CTX_DAG_RUN_ID": "manual__2026-01-31T02:00:00+00:00",
}


def put_folder(folder: Path) -> Path:
    """Two recordings of each of two words, and a file that is damaged."""
    for label in ("yes", "no"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            (folder / label / f"{number}.wav").write_bytes(tone_with(16_000))
    (folder / "yes" / "2.wav").write_bytes(b"RIFF")
    return folder


def test_a_stage_says_for_which_run_task_and_request_it_works_and_its_result_comes_last(tmp_path: Path) -> None:
    folder = put_folder(tmp_path / "lab")
    done = command(tmp_path / "home", "import", "--from", str(folder), "--quarantine", "--json", **AIRFLOW)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new_recordings"] == 4
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["event"] == "done" and lines[-1]["ms"] > 0
    for line in lines:
        assert problems(line) == [] and unfit(stored(json.dumps(line), "airflow-scheduler")) == []
        assert (line["stage"], line["request_id"], line["dag_id"]) == ("import", "order-18", "retrain")
        assert (line["task_id"], line["run_id"]) == ("import", AIRFLOW["AIRFLOW_CTX_DAG_RUN_ID"])


def test_a_stage_that_is_refused_says_so_in_one_line_and_for_a_person_in_words(tmp_path: Path) -> None:
    done = command(tmp_path / "home", "train", "--json", **AIRFLOW)
    assert done.returncode == 2 and done.stdout == ""
    *_, line = [json.loads(one) for one in done.stderr.splitlines()]
    assert problems(line) == []
    assert (line["level"], line["exit_code"]) == ("error", 2)
    assert "this stage has not been run" in line["event"]
    shown = command(tmp_path / "home", "train", "--json")
    assert shown.returncode == 2 and shown.stderr.startswith("error ") and "{" not in shown.stderr


@pytest.mark.parametrize(("how", "by"), [("json", "the address"), ("", "variables")])
def test_no_credential_of_the_registry_is_in_what_a_failing_stage_says(
    tmp_path: Path, registry: str, how: str, by: str
) -> None:
    where = {
        "the address": {"MLFLOW_TRACKING_URI": f"http://ada:{REGISTRY}@{registry}"},
        "variables": {
            "MLFLOW_TRACKING_URI": f"http://{registry}",
            "MLFLOW_TRACKING_USERNAME": "ada",
            "MLFLOW_TRACKING_PASSWORD": REGISTRY,
        },
    }[by]
    done = command(tmp_path / "home", "promote", "--json", SNN_FUSION_LOG=how, **where)
    assert done.returncode == 2 and "MLflow cannot be used" in done.stderr
    assert REGISTRY not in done.stdout + done.stderr


def test_a_command_is_a_span_of_the_trace_that_its_task_names(tmp_path: Path) -> None:
    trace, task = "0af7651916cd43dd8448eb211c80319d", "b7ad6b7169203332"
    with collector() as (endpoint, spans):
        variables = {**AIRFLOW, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "TRACEPARENT": f"00-{trace}-{task}-01"}
        assert command(tmp_path / "home", "train", "--json", **variables).returncode == 2
    (span,) = spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("snn-fusion train", trace, task)
    assert attributes(span) == {field: AIRFLOW[name] for field, name in CONTEXT.items()}
    assert span.status.code == 2 and span.status.message == "BadInput"
