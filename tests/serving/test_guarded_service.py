"""The guard around a service that really runs: its processes, real connections, and what stands in its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serving.running import ROOT, free_port, served
from tests.serving.signing import TONE, Signer, replace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "revoked").write_text("lost\n")
    return Signer(folder).make("old")


@pytest.fixture(scope="module")
def running(small_graph: Path, made: Signer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and log of a service that asks for tokens."""
    home = tmp_path_factory.mktemp("guarded")
    with served(small_graph, home, keys=made.keys, revoked=made.folder / "revoked") as url:
        yield url.removeprefix("http://"), home / "service.log"


def test_a_real_service_asks_for_tokens_on_http_and_on_streams(running: tuple[str, Path], made: Signer) -> None:
    address, _ = running
    url = f"http://{address}/v1/predict"
    assert httpx.post(url, json=TONE).status_code == 401
    assert httpx.post(url, json=TONE, headers=made.bearer()).json()["senses"] == ["audio"]
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{address}/v1/stream")
    assert refused.value.response.status_code == 401
    protocols: Any = ["snn-fusion", f"bearer.{made.token()}"]
    with connect(f"ws://{address}/v1/stream", subprotocols=protocols) as stream:
        assert stream.subprotocol == "snn-fusion"


@pytest.mark.parametrize("path", ["/schema.json", "/docs.json", "/livez", "/metrics", "/static_content/x", "/nothing"])
def test_nothing_of_bentoml_answers_past_the_guard(running: tuple[str, Path], path: str) -> None:
    answer = httpx.get(f"http://{running[0]}{path}")
    assert answer.status_code in (401, 404)
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.json()["error"]["request_id"]


def test_a_real_service_takes_a_new_key_without_a_restart(running: tuple[str, Path], made: Signer) -> None:
    whole = made.keys.read_text()
    made.make("third")
    url = f"http://{running[0]}/v1/predict"
    assert httpx.post(url, json=TONE, headers=made.bearer("third")).status_code == 200
    made.drop("third")
    assert httpx.post(url, json=TONE, headers=made.bearer("third")).status_code == 401
    replace(made.keys, whole)


def test_the_log_of_a_real_service_is_json_without_tokens_or_payloads(running: tuple[str, Path], made: Signer) -> None:
    address, log = running
    token, marker = made.token(), "payload-that-must-not-be-logged"
    for headers in ({"Authorization": f"Bearer {token}"}, {}, {"Authorization": f"Bearer {token}x"}):
        for body in ({"audio": {"samples": marker, "rate": 8000}}, {marker: 1}, {"audio": None, **TONE}):
            for query in ("", f"?token={token}&{marker}"):
                url = f"http://{address}/v1/predict{query}"
                httpx.post(url, json=body, headers={**headers, "X-Request-ID": "find-me"})
    httpx.get(f"http://{address}/{marker}")
    with pytest.raises(InvalidStatus):
        connect(f"ws://{address}/v1/stream?{marker}", subprotocols=[f"bearer.{token}x"])  # type: ignore[list-item]
    time.sleep(0.2)
    text = log.read_text()
    assert marker not in text
    assert not [piece for piece in token.split(".") if piece in text]
    lines = [json.loads(line) for line in text.splitlines()]
    mine = [line for line in lines if line.get("request_id") == "find-me"]
    assert [line["status"] for line in mine] == [422, 400, 422, 400, 200, 400, *12 * [401]]
    assert {line["route"] for line in mine} == {"/v1/predict"}


ELSEWHERE = "192.0.2.1"  # an address that no computer has


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"BENTOML_HOST": ELSEWHERE}, f"{ELSEWHERE} can be reached from outside"),
        ({"SNN_FUSION_SERVE_KEYS": "none.json"}, "error none.json: cannot be read: No such file"),
        ({"SNN_FUSION_SERVE_THREADS": "0"}, "error SNN_FUSION_SERVE_THREADS: is 0 (1 or more)"),
        ({"BENTOML_API_WORKERS": "3"}, "error --api-workers: is not known to this service"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_bentoml_itself_names_a_wrong_setting_and_starts_nothing(
    settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    program = str(Path(sys.executable).with_name("bentoml"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNN_FUSION_SERVE_")}
    paths = {"PYTHONPATH": str(ROOT / "src"), "BENTOML_HOME": str(tmp_path), "SNN_FUSION_HOME": str(tmp_path)}
    done = subprocess.run(
        [program, "serve", "snn_fusion.serving.service:SnnFusion", "--port", str(free_port())],
        **{"capture_output": True, "text": True, "timeout": 90},
        env=kept | paths | settings | {"BENTOML_DO_NOT_TRACK": "True"},
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_model_that_cannot_be_served_is_named_and_the_command_ends_with_2(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNN_FUSION_SERVE_")}
    done = subprocess.run(
        [sys.executable, "-m", "snn_fusion.serving.parent", "--port", str(free_port())],
        **{"capture_output": True, "text": True, "timeout": 300},
        env=kept | {"PYTHONPATH": str(ROOT / "src"), "SNN_FUSION_SERVE_MODEL": "./nowhere"},
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "nowhere" in json.loads(done.stdout.splitlines()[-1])["event"]
