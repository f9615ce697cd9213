"""The real DAG on real recordings, a few of each digit: from import to a registered version."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from snn_fusion.config import load_params
from snn_fusion.registry.dag_log import CHIP, STAGES
from snn_fusion.registry.models import resolve_model
from snn_fusion.workspace import Workspace, file_digest
from tests.dags.conftest import run_driver

HEAVY = ("torch", "numba", "great_expectations", "mlflow", "matplotlib")

WATCHED = """#!{python}
import atexit, json, sys

def note():
    found = [name for name in {heavy!r} if name in sys.modules]
    with open({notes!r}, "a") as file:
        file.write(json.dumps([sys.argv[1], found]) + "\\n")

atexit.register(note)
from snn_fusion.cli import main
if __name__ == "__main__":  # a pool's processes import this file again
    main()
"""

pytestmark = pytest.mark.xdist_group("airflow")


def test_dag_takes_real_recordings_to_a_registered_version(
    airflow: Workspace, small_mirror: Path, small_params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_DATA_DIR", str(small_mirror))
    for left_out in ("AKIDA", "SPINNAKER"):  # one chip is enough here
        monkeypatch.setenv(left_out, "no")
    conf = {"params_file": str(small_params), "speakers": False}
    first = run_driver(airflow, "run", "retrain", conf, {})
    assert first["state"] == "success", first
    skipped = {name for name, state in first["tasks"].items() if state == "skipped"}
    assert set(first["tasks"].values()) <= {"success", "skipped"}, first

    params = load_params(small_params)
    evaluation = json.loads(airflow.path("evaluated", "evaluation.json").read_text())
    assert {"audio", "events", "imu", "fused"} <= evaluation["accuracy"]["clean"].keys()
    assert evaluation["data"]["synthetic"] is False
    assert "<svg" in airflow.path("evaluated", "report.html").read_text()
    chips = json.loads(airflow.path("compared", "targets.json").read_text())["targets"]
    assert chips["akida"]["state"] == chips["spinnaker"]["state"] == "unavailable"
    there = [one["state"] != "unavailable" for one in chips.values()]
    assert skipped == {f"chip.{stage} {i}" for i in range(len(chips)) if not there[i] for stage in CHIP}
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
    imported = tmp_path / "imported.jsonl"
    again = run_driver(airflow, "run", "retrain", conf, {"SNN_FUSION_CLI": str(watched(tmp_path, imported))})
    assert again["state"] == "success"
    assert {name: airflow.digest(name) for name in stages} == made
    found = [json.loads(line) for line in imported.read_text().splitlines()]
    assert {name for name in STAGES if " " not in name} | {"tune"} <= {command for command, _ in found}
    for command, modules in found:  # nothing was to be done, so nothing that takes seconds was needed
        allowed = {"mlflow"} if command == "promote" else set()  # the record of promotions lies there
        assert set(modules) <= allowed, (command, modules)


def watched(folder: Path, notes: Path) -> Path:
    """The CLI, which notes for each command what it imported of HEAVY."""
    program = folder / "snn-fusion"
    program.write_text(WATCHED.format(python=sys.executable, notes=str(notes), heavy=HEAVY))
    program.chmod(0o755)
    return program
