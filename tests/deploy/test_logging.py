"""The log store's configuration: generated from the schema, consistent with it, closed to all but nginx.

Elasticsearch, Logstash, Kibana and Filebeat themselves run in no test.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.log_schema import LOGGING, MAPPING, SCHEMA, stored, unfit
from tests.deploy.monitoring import ROOT
from tests.http_server import http_server

PARTS = ("filebeat", "logstash", "elasticsearch", "kibana", "logging-setup")


@pytest.fixture(scope="module")
def generated() -> Iterator[Any]:
    sys.path.insert(0, str(LOGGING))
    import generate

    yield generate
    sys.path.remove(str(LOGGING))
    del sys.modules["generate"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return content


def test_what_is_generated_is_what_the_schema_gives_today(generated: Any) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for name, content in generated.files().items():
        assert (LOGGING / name).read_text() == content, f"{name}: run docker/logging/generate.py"


def test_every_field_of_the_schema_is_indexed_and_no_line_can_add_another() -> None:
    assert SCHEMA["properties"].keys() - {"time"} <= MAPPING.keys()
    template = json.loads((LOGGING / "template.json").read_text())["template"]
    assert template["mappings"]["dynamic"] is False
    policy = json.loads((LOGGING / "policy.json").read_text())["policy"]["phases"]
    assert policy["delete"]["min_age"] == "30d"
    setup = (LOGGING / "setup.sh").read_text()
    assert f"_ilm/policy/{template['settings']['index.lifecycle.name']}" in setup


def test_every_saved_search_asks_for_fields_that_there_are(generated: Any) -> None:
    objects = [json.loads(line) for line in (LOGGING / "kibana.ndjson").read_text().splitlines()]
    view, *searches = objects
    assert view["attributes"]["title"] == json.loads((LOGGING / "template.json").read_text())["index_patterns"][0]
    assert len({one["id"] for one in objects}) == len(objects) > 5
    for one in searches:
        assert [reference["id"] for reference in one["references"]] == [view["id"]]
        source = json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        fields = re.findall(r"([\w.@]+)\s*(?::|>=|<=|>|<)", source["query"]["query"])
        assert fields, one["attributes"]["title"]
        assert set(fields) | set(one["attributes"]["columns"]) <= MAPPING.keys(), one["attributes"]["title"]
        for field, _ in re.findall(r"(\w+)\s*(>=|<=|>|<)", source["query"]["query"]):
            assert MAPPING[field]["type"] in ("long", "double")


@pytest.mark.parametrize(
    ("service", "text", "level"),
    [
        ("postgres", "2026-01-31 02:00:00.000 UTC [1] LOG:  database system is ready", "info"),
        ("postgres", "2026-01-31 02:00:00.000 UTC [7] FATAL:  password authentication failed", "error"),
        ("redis", "1:M 31 Jan 2026 02:00:00.000 * Ready to accept connections tcp", "info"),
        ("mlflow", "2026/01/31 02:00:00 WARNING mlflow.store: slow", "warning"),
        ("mlflow", '{"error": "JSON, but no log line"}', "info"),
        ("nginx", 'nginx: [emerg] a text with "quotes" and {braces}', "info"),
    ],
)
def test_a_line_of_a_process_that_does_not_know_the_schema_is_wrapped(service: str, text: str, level: str) -> None:
    event = stored(text, service)
    assert event.pop("@timestamp")
    assert event == {"service": service, "logger": service, "level": level, "event": text}


def test_a_line_that_a_task_of_airflow_prints_stands_for_itself() -> None:
    line = {"time": "2026-01-31T03:00:00+01:00", "level": "warning", "logger": "snn_fusion", "event": "slow", "ms": 7}
    airflow = {"timestamp": "2026-01-31T02:00:01Z", "level": "info", "event": json.dumps(line, separators=(",", ":"))}
    event = stored(json.dumps(airflow | {"logger": "airflow.SubprocessHook", "dag_id": "d"}), "airflow-scheduler")
    assert event["@timestamp"] == "2026-01-31T02:00:00+00:00"
    assert (event["level"], event["event"], event["ms"], event["dag_id"]) == ("warning", "slow", 7, "d")


def test_airflows_own_lines_get_the_names_of_all_others() -> None:
    raised = [{"exc_type": "AirflowException", "exc_value": "exit code 2."}]
    line = {"timestamp": "2026-01-31T02:00:01Z", "level": "error", "event": "Task failed", "exception": raised}
    event = stored(json.dumps(line | {"status_code": 200, "client_addr": "a:1"}), "airflow-api")
    assert event["raised"] == raised and "exception" not in event
    assert (event["status"], event["client"], event["@timestamp"]) == (200, "a:1", "2026-01-31T02:00:01+00:00")
    assert unfit(event) == []


def test_only_nginx_reaches_kibana_and_nothing_but_its_own_parts_reaches_the_store(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, one in services.items() if "logs" in one.get("networks", ())} == set(PARTS)
    assert compose["networks"]["logs"] == {"internal": True}
    assert {name for name, one in services.items() if "ports" in one} == {"nginx"}
    assert [name for name in PARTS if "back" in services[name]["networks"]] == ["kibana"]
    conf = (ROOT / "docker" / "nginx" / "nginx.conf").read_text()
    location = re.search(r"location /kibana/ \{.*?\n        \}", conf, re.DOTALL)
    assert location and "auth_basic_user_file" in location[0] and "proxy_pass $kibana" in location[0]


def test_each_part_of_the_log_store_is_pinned_limited_and_cannot_write_its_file_system(compose: dict[str, Any]) -> None:
    limits = {name: compose["services"][name].get("deploy", {}).get("resources", {}) for name in PARTS[:-1]}
    memory = {name: one["limits"]["memory"] for name, one in limits.items()}
    assert memory == {"filebeat": "256m", "logstash": "1g", "elasticsearch": "2g", "kibana": "512m"}
    for name in PARTS:
        one = compose["services"][name]
        assert one["read_only"] and one["cap_drop"] == ["ALL"] and one["profiles"] == ["logging"], name
        if name != "logging-setup":
            assert re.fullmatch(r"docker\.elastic\.co/\S+:\$\{SNN_FUSION_ELASTIC:-\d+\.\d+\.\d+\}", one["image"])


def test_every_container_labels_its_lines_as_filebeat_wants_them(compose: dict[str, Any]) -> None:
    labels = compose["x-container"]["logging"]["options"]["labels"].split(",")
    beat = (LOGGING / "filebeat.yml").read_text()
    assert set(re.findall(r"docker\.attrs\.([\w.]+)", beat)) == set(labels)
    assert all(one["logging"]["options"]["labels"] for one in compose["services"].values())
    assert [output for output in yaml.safe_load(beat) if output.startswith("output.")] == ["output.logstash"]


def test_the_store_is_set_up_before_lines_come_and_a_refusal_stops_it(generated: Any) -> None:
    asked: list[tuple[str, str, bytes]] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        asked.append((method, path, body))
        return 400 if "refuse" in path else 200, b""

    with http_server(answer) as url:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        environment = {"ELASTICSEARCH": url, "KIBANA": f"{url}/kibana", "PATH": "/usr/bin:/bin"}
        subprocess.run([LOGGING / "setup.sh"], env=environment, check=True)
        assert [(method, path) for method, path, _ in asked] == [
            ("PUT", "/_ilm/policy/snn-fusion-logs"),
            ("PUT", "/_index_template/snn-fusion-logs"),
            ("POST", "/kibana/api/saved_objects/_import?overwrite=true"),
        ]
        assert json.loads(asked[0][2]) == generated.policy() and "data_stream" in json.loads(asked[1][2])
        assert (LOGGING / "kibana.ndjson").read_bytes() in asked[2][2]
        refused = subprocess.run([LOGGING / "setup.sh"], env=environment | {"ELASTICSEARCH": f"{url}/refuse"})
        assert refused.returncode != 0 and len(asked) == 4


def test_the_documented_query_finds_everything_about_a_request() -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    documented = re.search(r"jq (-cR --arg x order-17) '([^']+)'", (ROOT / "docs" / "logging.md").read_text())
    assert documented
    stage = {"time": "2026-01-31T02:00:00Z", "event": "done", "request_id": "order-17", "stage": "train"}
    lines = [
        json.dumps({"event": "request", "request_id": "order-17", "logger": "nginx"}),
        json.dumps({"event": "request", "request_id": "order-18", "logger": "nginx"}),
        json.dumps({"timestamp": "x", "event": json.dumps(stage), "logger": "airflow.SubprocessHook"}),
        json.dumps({"timestamp": "x", "event": '{"promoted": true}', "logger": "airflow.SubprocessHook"}),
        *("LOG:  a text", "17", "[1]", '"order-17"', '{"event": 3}', "{"),
    ]
    command = ["jq", *documented[1].split(), documented[2]]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [json.loads(lines[0]), stage]
