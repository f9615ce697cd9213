"""The real DAG on real recordings, a few of each digit: from import to a registered version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snn_fusion.config import load_params
from snn_fusion.registry.models import resolve_model
from snn_fusion.workspace import Workspace, file_digest
from tests.dags.conftest import run_driver

pytestmark = pytest.mark.xdist_group("airflow")


def test_dag_takes_real_recordings_to_a_registered_version(
    airflow: Workspace, small_mirror: Path, small_params: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_DATA_DIR", str(small_mirror))
    for left_out in ("AKIDA", "SPINNAKER"):  # one chip is enough here
        monkeypatch.setenv(left_out, "no")
    conf = {"params_file": str(small_params), "speakers": False}
    first = run_driver(airflow, "run", "retrain", conf, {})
    assert first["state"] == "success", first
    assert set(first["tasks"].values()) == {"success"}

    params = load_params(small_params)
    evaluation = json.loads(airflow.path("evaluated", "evaluation.json").read_text())
    assert {"audio", "events", "imu", "fused"} <= evaluation["accuracy"]["clean"].keys()
    assert evaluation["data"]["synthetic"] is False
    assert "<svg" in airflow.path("evaluated", "report.html").read_text()
    chips = json.loads(airflow.path("compared", "targets.json").read_text())["targets"]
    assert chips["akida"]["state"] == chips["spinnaker"]["state"] == "unavailable"
    if chips["loihi2"]["state"] != "unavailable":
        found = chips["loihi2"]["compiled"]["conformance"]
        assert (found["spikes"], found["potentials"]) == (0, 0) and found["compared"] > 0
        assert 'id="chips"' in airflow.path("compared", "report.html").read_text()
    champion = resolve_model(params, airflow, "champion")
    weights = airflow.path("trained", "graph", "weights.safetensors")
    assert file_digest(champion / "weights.safetensors") == file_digest(weights)
    assert airflow.path("promotions.jsonl").read_text().count("\n") == 1

    stages = ("recordings", "encoded", "trained", "registered")
    made = {name: airflow.digest(name) for name in stages}
    again = run_driver(airflow, "run", "retrain", conf, {})
    assert again["state"] == "success"
    assert {name: airflow.digest(name) for name in stages} == made
