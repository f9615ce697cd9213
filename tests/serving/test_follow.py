"""A service that follows the registry: it starts before there is a champion, and answers with each new one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from snn_fusion.config import Params
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.registry.tracking import artifact_root, connect
from snn_fusion.workspace import Workspace
from tests.registry.conftest import empty_store, params, put_evaluation, put_network, ready, takes, ws
from tests.serving.made import as_json, recording
from tests.serving.running import served

__all__ = ["empty_store", "params", "ready", "takes", "ws"]  # fixtures
WITHIN_S = 60.0  # on a busy machine; about 2 on an idle one


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def put(ws: Workspace, params: Params, number: int) -> None:
    """The network and evaluation that become version `number`, better than the ones before."""
    put_network(ws, params, seed=number)
    put_evaluation(ws, {"n3": 200 - 40 * number})
    path = ws.path("evaluated", "evaluation.json")
    by_step = {"accuracy_by_step": {"fused": [0.5] * params.encoding.steps}}
    path.write_text(json.dumps(json.loads(path.read_text()) | by_step))


def new_champion(ws: Workspace, params: Params, number: int) -> None:
    put(ws, params, number)
    register(params, ws)
    assert promote(params, ws)["promoted"]


def metric(url: str, name: str) -> float:
    (line,) = [one for one in httpx.get(f"{url}/metrics").text.splitlines() if one.startswith(f"snn_fusion_{name} ")]
    return float(line.rpartition(" ")[2])


def version(url: str) -> str:
    answer = httpx.post(f"{url}/v1/predict", json=as_json(recording(1, "audio")), timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


def test_each_new_champion_answers_by_itself_and_one_that_cannot_be_loaded_leaves_the_old(
    ready: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_USER", "ada")
    with served("champion", ready.root, ready=503, follow_s=0.2, cache=0) as url:
        assert httpx.get(f"{url}/health").json() == {"status": "alive"}
        assert httpx.get(f"{url}/ready").json()["why"] == "the registry has no champion yet"
        assert "\nsnn_fusion_ready 0\n" in httpx.get(f"{url}/metrics").text
        refused = httpx.post(f"{url}/v1/predict", json={})
        assert refused.status_code == 503 and refused.headers["Retry-After"] == "10"
        assert refused.json()["error"]["problem"] == "the registry has no champion yet"

        new_champion(ready, params, 1)
        until(lambda: _status(url) == 200)
        assert version(url) == "1"
        assert metric(url, "load_failed") == 0 and metric(url, "registry_reachable") == 1

        new_champion(ready, params, 2)
        until(lambda: version(url) == "2")

        put(ready, params, 3)
        register(params, ready)
        for damaged in artifact_root(ready).rglob("weights.safetensors"):
            damaged.write_bytes(b"not weights")
        connect(ready).set_registered_model_alias("snn-fusion", "champion", "3")
        until(lambda: metric(url, "load_failed") == 1)
        assert version(url) == "2" and _status(url) == 200

        connect(ready).set_registered_model_alias("snn-fusion", "champion", "2")
        until(lambda: metric(url, "load_failed") == 0)


def test_a_registry_that_goes_away_is_seen_in_the_metrics_and_answers_go_on(
    ready: Workspace, params: Params, tmp_path: Path
) -> None:
    new_champion(ready, params, 1)
    with served("champion", ready.root, follow_s=0.2, cache=0) as url:
        assert version(url) == "1"
        database = ready.path("mlflow", "mlflow.db")
        database.rename(tmp_path / "away.db")
        database.mkdir()
        until(lambda: metric(url, "registry_reachable") == 0)
        assert version(url) == "1" and metric(url, "load_failed") == 0
        database.rmdir()
        (tmp_path / "away.db").rename(database)
        until(lambda: metric(url, "registry_reachable") == 1)


def _status(url: str) -> int:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code
    except httpx.TransportError:  # between the server that waits and the one that answers
        return 0
