"""What Prometheus reads, and the traces that a collector gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from snn_fusion.serving.app import ROUTES, create
from snn_fusion.serving.model import Model
from snn_fusion.serving.observe import UNKNOWN
from snn_fusion.serving.settings import Settings
from tests.serving.made import as_json, recording
from tests.serving.spans import collector
from tests.serving.watching import LOCAL, NEVER, value


@pytest.fixture
def client(small_model: Model) -> Iterator[TestClient]:
    """Its own, so that counters start at zero."""
    with TestClient(
        create(Settings(pressure_ms=NEVER), lambda _: small_model), LOCAL, raise_server_exceptions=False
    ) as made:
        yield made


def test_a_prediction_is_counted_by_route_class_steps_and_times(client: TestClient) -> None:
    answer = client.post("/v1/predict", json=as_json(recording(1))).json()
    assert value(client, "requests_total", route="/v1/predict", status="200") == 1
    assert value(client, "predicted_total", role="champion", label=answer["label"]) == 1
    for name in ("queue_seconds", "batch_size", "steps_share"):
        assert value(client, f"{name}_count") == 1
    for name in ("encode_seconds", "infer_seconds"):
        assert value(client, f"{name}_count", role="champion") == 1
    assert value(client, "infer_seconds_sum", role="champion") * 1000 == pytest.approx(
        answer["timing_ms"]["infer"], abs=0.001
    )


def test_spike_rates_are_those_of_the_spikes(client: TestClient) -> None:
    given = as_json(recording(2, "audio", "imu"))
    client.post("/v1/predict", json=given)
    senses = client.post("/v1/spikes", json=given).json()["senses"]
    for sense, spikes in senses.items():
        rate = len(spikes["index"]) / (spikes["steps"] * spikes["channels"])
        assert value(client, "input_spike_rate_sum", sense=sense) == pytest.approx(rate)
    assert 0 < value(client, "layer_firing_rate_sum", layer="joint") < 1
    assert value(client, "layer_firing_rate_count", layer="audio") == 1
    assert value(client, "layer_firing_rate_count", layer="events") is None  # it heard nothing


def test_a_silent_sense_is_left_out_named_and_counted(client: TestClient) -> None:
    given = as_json(recording(3, "imu")) | {"audio": {"samples": [0.0] * 8000, "rate": 8000}}
    answer = client.post("/v1/predict", json=given).json()
    assert answer["senses"] == ["imu"] and "silent" in answer["rejected"]["audio"]
    assert value(client, "senses_rejected_total", sense="audio") == 1
    assert value(client, "degraded_total", how="sense_rejected") == 1


def test_whatever_is_asked_for_labels_stay_few(client: TestClient) -> None:
    for n in range(20):
        client.get(f"/there/is/no/{n}")
        client.request(f"ODD{n}", "/v1/predict")
    client.post("/v1/predict", content=b"{", headers={"Content-Type": "application/json"})
    assert value(client, "requests_total", route=UNKNOWN, status="404") == 20
    assert value(client, "requests_total", route="/v1/predict", status="405") == 20
    assert value(client, "requests_total", route="/v1/predict", status="400") == 1
    routes = {getattr(route, "path", "") for route in ROUTES} | {UNKNOWN}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        assert {one.labels["route"] for one in family.samples if "route" in one.labels} <= routes


def test_a_failure_of_the_service_is_counted_as_500(small_model: Model) -> None:
    class Broken:
        def rest(self) -> Any:
            raise RuntimeError("secret")

    app = create(Settings(), lambda _: small_model)
    with TestClient(app, LOCAL, raise_server_exceptions=False) as client:
        app.state.service.model = replace(small_model, network=Broken())  # type: ignore[arg-type]
        answer = client.post("/v1/predict", json=as_json(recording(1)))
        assert answer.status_code == 500 and "secret" not in answer.text
        assert value(client, "requests_total", route="/v1/predict", status="500") == 1


def test_metrics_name_the_model_and_what_is_open(client: TestClient, small_model: Model) -> None:
    labels = {"role": "champion", "version": "small", "digest": small_model.graph.digest[:12], "arithmetic": "float"}
    assert value(client, "model_info", **labels) == 1
    assert value(client, "streams_open") == 0
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
        stream.send_json({"start": ["audio"]})
        assert value(client, "streams_open") == 1
    assert value(client, "waiting") == 0 and value(client, "ready") == 1


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The spans that were sent to the endpoint of OpenTelemetry."""
    with collector() as (endpoint, found):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        yield found


def test_a_request_is_traced_from_its_caller_to_queue_encoding_and_inference(
    spans: list[Any], small_model: Model
) -> None:
    caller, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with TestClient(create(Settings(pressure_ms=NEVER), lambda _: small_model), LOCAL) as client:
        headers = {"traceparent": f"00-{caller}-{parent}-01"}
        assert client.post("/v1/predict", json=as_json(recording(1)), headers=headers).status_code == 200
    by_name = {span.name: span for span in spans}
    whole = by_name.pop("POST /v1/predict")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (caller, parent)
    assert by_name.keys() == {"queue", "encode", "infer"}
    for span in by_name.values():
        assert span.parent_span_id == whole.span_id
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano
    assert by_name["queue"].end_time_unix_nano == by_name["encode"].start_time_unix_nano


def test_without_an_endpoint_nothing_is_traced(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.app.state.service.tracing is None  # type: ignore[attr-defined]
