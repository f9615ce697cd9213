"""The DAG files: what they import, what they hold, and that a failed stage never ends green."""

from __future__ import annotations

import ast
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from snn_fusion.targets.names import NAMES
from tests.dags.conftest import ROOT, Drive

# One worker: they share runs of Airflow.
pytestmark = pytest.mark.xdist_group("airflow")
NETWORK = ["import", "validate", "encode", "train", "evaluate", "speakers"]
CHIP = ["tune", "compile", "benchmark"]
RELEASE = ["compare", "register", "promote", "package", "push"]
STAGES = [*NETWORK, *RELEASE]
FILES = sorted((ROOT / "dags").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_dag_files_import_airflow_and_the_standard_library_only(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported <= {"airflow", "snn_fusion_tasks", *sys.stdlib_module_names}


def test_dags_are_whole_documented_and_limited(drive_once: Drive) -> None:
    found = drive_once("describe")
    assert found["errors"] == {}
    assert set(found["dags"]) == {"retrain", "import_recordings", "search", "rehearse_restore"}
    for dag in found["dags"].values():
        assert dag["doc"] and dag["description"] and dag["tags"] == ["snn-fusion"]
        assert dag["catchup"] is False and dag["max_active_runs"] == 1
        for name, task in dag["tasks"].items():
            assert task["doc"], f"{name} has no doc_md"
            assert task["owner"] == "snn-fusion"
            if task["command"]:
                assert task["timeout"], f"{name} has no time limit"
                assert task["retries"] == 0 and task["stops_on_bad_input"], name  # 0: as the driver asks for
                assert "{{" not in task["command"], f"{name}: a parameter in the text of a command could become code"
    check_retrain(found["dags"]["retrain"])
    assert found["dags"]["import_recordings"]["tasks"]["announce"]["outlets"] == ["snn_fusion_recordings"]


def check_retrain(retrain: dict[str, Any]) -> None:
    assert retrain["params"]["params_file"]["type"] == "string"
    assert retrain["params"]["speakers"]["type"] == "boolean"
    assert "AssetOrTimeSchedule" in retrain["schedule"]
    order = [*NETWORK, *(f"chip.{stage}" for stage in CHIP), "chips_ended", *RELEASE, "gate"]
    assert list(retrain["tasks"]) == order
    for name, following in pairwise(order):
        assert following in retrain["tasks"][name]["downstream"]
    assert "compare" in retrain["tasks"]["speakers"]["downstream"]
    assert retrain["tasks"]["gate"]["downstream"] == []


UNKNOWN: dict[str, dict[str, str]] = {"retrain": {}, "import_recordings": {"folder": "x"}, "search": {}}
HOSTILE = """x"; touch owned; echo $(touch owned) `touch owned` '\""""


@pytest.fixture(scope="module")
def runs(drive_once: Drive) -> dict[str, Any]:
    """All runs of this module, with the stand-in for the CLI."""
    again = {"SNN_FUSION_RETRIES": "2", "FAIL_AT": "import"}
    return drive_once(
        "run_all",
        {
            **{stage: ["retrain", {}, {"FAIL_AT": stage}] for stage in STAGES},
            "chip": ["retrain", {}, {"FAIL_AT": "compile spinnaker"}],
            "bad input": ["retrain", {}, {**again, "FAIL_WITH": "2"}],
            "anything else": ["retrain", {}, {**again, "FAIL_WITH": "1"}],
            "hostile file": ["retrain", {"params_file": HOSTILE}, {}],
            "no speakers": ["retrain", {"speakers": False}, {}],
            "hostile folder": ["import_recordings", {"folder": HOSTILE}, {}],
            "search": ["search", {"params_file": HOSTILE, "trials": 7}, {}],
            "search plan": ["search", {}, {"FAIL_AT": "search plan"}],
            "search trial 1": ["search", {}, {"FAIL_AT": "search trial 1"}],
            "search trial": ["search", {}, {"FAIL_AT": "search trial"}],
            "search best": ["search", {}, {"FAIL_AT": "search best"}],
            "new": ["import_recordings", {"folder": "a folder"}, {"NEW": "3", "USED": '{"lab": 3}'}],
            "new, by a file": [
                "import_recordings",
                {"folder": "a folder", "params_file": "lab.yaml"},
                {"NEW": "3", "USED": '{"lab": 3}'},
            ],
            "by an import": ["retrain", {}, {}, [{"params_file": "lab.yaml"}]],
            "by imports": ["retrain", {}, {}, [{"params_file": "lab.yaml"}, {"params_file": HOSTILE}]],
            "by an event of a person": ["retrain", {}, {}, [{}]],
            "new, not used": ["import_recordings", {"folder": "a folder"}, {"NEW": "3"}],
            "bad folder": ["import_recordings", {"folder": "x"}, {**again, "FAIL_WITH": "2"}],
            "bad search": ["search", {}, {"SNN_FUSION_RETRIES": "2", "FAIL_AT": "search plan", "FAIL_WITH": "2"}],
            "not installed": ["retrain", {}, {"UNAVAILABLE": "akida"}],
            "nothing installed": ["retrain", {}, {"UNAVAILABLE": "*"}],
            **{f"unknown {name}": [name, {**conf, "sppeakers": 1}, {}] for name, conf in UNKNOWN.items()},
        },
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_failed_stage_fails_the_run(runs: dict[str, Any], stage: str) -> None:
    tasks = runs[stage]["tasks"]
    assert runs[stage]["state"] == "failed"
    assert [tasks[name] for name in STAGES[: STAGES.index(stage)]] == ["success"] * STAGES.index(stage)
    assert tasks.pop(stage) == tasks.pop("gate") == "failed"
    later = {state for name, state in tasks.items() if name in STAGES[STAGES.index(stage) :]}
    assert later <= {"upstream_failed"}
    chips = {state for name, state in tasks.items() if name.startswith("chip.")}
    assert chips == ({"upstream_failed"} if stage in NETWORK else {"success"})


def test_a_failed_chip_stops_no_other_and_still_ends_red(runs: dict[str, Any]) -> None:
    tasks, failed = runs["chip"]["tasks"], NAMES.index("spinnaker")
    assert runs["chip"]["state"] == "failed" and tasks["gate"] == "failed"
    assert tasks[f"chip.tune {failed}"] == "success"
    assert tasks[f"chip.compile {failed}"] == "failed"
    assert tasks[f"chip.benchmark {failed}"] == "upstream_failed"
    for i in range(len(NAMES) - 1):
        assert [tasks[f"chip.{stage} {i}"] for stage in CHIP] == ["success"] * 3
    assert tasks["compare"] == "success"


def test_each_chip_gets_its_own_stages(runs: dict[str, Any]) -> None:
    called = [call.split(" --json")[0] for call in runs["hostile file"]["calls"]]
    assert sorted(called[len(NETWORK) : -len(RELEASE)]) == sorted(
        f"{stage} --target={name}" for stage in CHIP for name in NAMES
    )


def test_bad_input_is_not_tried_again_and_anything_else_is(runs: dict[str, Any]) -> None:
    assert runs["bad input"]["tasks"]["import"] == runs["anything else"]["tasks"]["import"] == "failed"
    assert len(runs["bad input"]["calls"]) == 1
    assert len(runs["anything else"]["calls"]) == 3


def test_bad_input_stops_every_dag_at_once(runs: dict[str, Any]) -> None:
    for name in ("bad folder", "bad search"):
        assert runs[name]["state"] == "failed" and len(runs[name]["calls"]) == 1


def test_retries_come_after_one_and_four_minutes_also_when_a_task_was_cleared(drive_once: Drive) -> None:
    # Without retries, as the driver is called, the policy still says when the next would be: 2 of them are allowed.
    for dag in UNKNOWN:
        assert drive_once("delays", dag, [[1, 2], [2, 2], [5, 6], [6, 6]], 2) == [1, 4, 1, 4]


@pytest.mark.parametrize("dag", UNKNOWN)
def test_a_parameter_that_the_dag_does_not_have_is_refused_before_any_command(runs: dict[str, Any], dag: str) -> None:
    run = runs[f"unknown {dag}"]
    assert run["state"] == "failed" and run["calls"] == []


def test_a_chip_that_is_not_installed_is_skipped_by_name_and_the_run_is_green(runs: dict[str, Any]) -> None:
    run, index = runs["not installed"], NAMES.index("akida")
    assert run["state"] == "success"
    assert {run["tasks"][f"chip.{stage} {index}"] for stage in CHIP} == {"skipped"}
    assert {state for name, state in run["tasks"].items() if not name.endswith(f" {index}")} == {"success"}
    assert [run["shown"][f"chip.tune {i}"] for i in range(len(NAMES))] == list(NAMES)
    assert [call for call in run["calls"] if "--target=akida " in call] == [
        "tune --target=akida --json --params=params.yaml"
    ]


def test_a_run_without_any_chip_ends_green(runs: dict[str, Any]) -> None:
    tasks = runs["nothing installed"]["tasks"]
    assert runs["nothing installed"]["state"] == "success"
    assert {tasks[f"chip.{stage} {i}"] for stage in CHIP for i in range(len(NAMES))} == {"skipped"}
    assert {tasks[stage] for stage in STAGES} == {"success"}


def test_a_parameter_reaches_the_command_as_it_is(runs: dict[str, Any]) -> None:
    assert runs["hostile file"]["state"] == "success"
    assert runs["hostile file"]["calls"][1] == f"validate --json --params={HOSTILE}"
    assert f"--from {HOSTILE} --quarantine" in runs["hostile folder"]["calls"][0]
    assert not (ROOT / "owned").exists()


def test_speakers_are_left_out_in_turn_unless_the_run_says_not_to(runs: dict[str, Any]) -> None:
    assert f"speakers --json --params={HOSTILE}" in runs["hostile file"]["calls"]
    assert "speakers --json --skip --params=params.yaml" in runs["no speakers"]["calls"]


def test_only_new_recordings_that_a_run_would_use_start_it_and_are_named(runs: dict[str, Any]) -> None:
    for name in ("hostile folder", "new, not used"):
        assert runs[name]["tasks"] == {"import_folder": "success", "announce": "skipped"}
        assert runs[name]["events"] == []
    assert runs["new"]["tasks"] == {"import_folder": "success", "announce": "success"}
    said = {"sources": {"lab": 3}, "new_recordings": 3}
    assert runs["new"]["events"] == [said | {"params_file": "params.yaml"}]
    assert runs["new, by a file"]["events"] == [said | {"params_file": "lab.yaml"}]


@pytest.mark.parametrize(
    ("run", "file"),
    [("by an import", "lab.yaml"), ("by imports", HOSTILE), ("by an event of a person", "params.yaml")],
)
def test_a_run_that_imports_started_takes_the_parameters_file_of_the_newest(
    runs: dict[str, Any], run: str, file: str
) -> None:
    assert runs[run]["state"] == "success"
    assert runs[run]["calls"][1] == f"validate --json --params={file}"
    assert all(call.endswith(f"--params={file}") for call in runs[run]["calls"])


def test_a_search_maps_a_task_over_each_slot_that_was_planned(runs: dict[str, Any]) -> None:
    names = ["plan", "trial 0", "trial 1", "trial 2", "best", "gate"]
    assert runs["search"]["state"] == "success"
    assert runs["search"]["tasks"] == dict.fromkeys(names, "success")
    called = [call.split(" --params=")[0] for call in runs["search"]["calls"]]
    trials = [f"search trial --slot {slot} --json" for slot in range(3)]
    assert called[0] == "search plan --json" and called[-1] == "search best --json"
    assert sorted(called[1:-1]) == trials
    assert runs["search"]["calls"][0].endswith(f"--params={HOSTILE} --trials=7")
    assert not any("--trials" in call for call in runs["search best"]["calls"])


def test_a_search_without_plan_or_best_never_ends_green(runs: dict[str, Any]) -> None:
    for name in ("search plan", "search trial", "search best"):
        assert runs[name]["state"] == "failed"
        assert runs[name]["tasks"]["gate"] == "failed"
    assert [call for call in runs["search plan"]["calls"] if "plan" not in call] == []


def test_a_failed_trial_leaves_the_verdict_to_best(runs: dict[str, Any]) -> None:
    tasks = runs["search trial 1"]["tasks"]
    assert (tasks["trial 0"], tasks["trial 1"], tasks["trial 2"]) == ("success", "failed", "success")
    assert tasks["best"] == "success" and runs["search trial 1"]["state"] == "success"
