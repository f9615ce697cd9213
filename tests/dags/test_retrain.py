"""`snn-fusion retrain`: what it shows of a run, what it exits with, and that nothing outlives it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from snn_fusion.benchmark.conditions import LEFT_OUT
from snn_fusion.benchmark.speakers import SKIPPED
from snn_fusion.registry.dag_log import STAGES, DagLog
from snn_fusion.registry.dag_progress import watching
from snn_fusion.registry.outcome import print_outcome
from snn_fusion.registry.ui import pages
from snn_fusion.workspace import Workspace

pytestmark = pytest.mark.xdist_group("airflow")
HOOK = "airflow.task.hooks.airflow.providers.standard.hooks.subprocess.SubprocessHook"
OUTCOME = {
    "accuracy": {"fused": {"value": 0.99, "low": 0.97, "high": 1.0, "n": 100}},
    "synthetic": False,
    "weights_digest": "2f3e",
    "version": "3",
    "promoted": False,
    "champion": False,
    "why": "worse than version 2 under n2",
    "seconds": 50.0,
    "stages": {"import": 10.0, "train": 30.0},
    "up_to_date": ["import"],
    "chips": {
        "targets": {"akida": {"state": "unavailable", "why": "left out (AKIDA=no)"}},
        "verdict": {"not_measured": {}},
    },
    "report": "report.html",
    "validation": "validation.html",
    "log": "log.jsonl",
}


def record(event: str, logger: str = "airflow.sdk.definitions.dag", **more: Any) -> str:
    return json.dumps({"event": event, "level": "info", "logger": logger, **more})


def stage_lines(name: str, *printed: str, exit_code: int = 0, state: str = "") -> list[str]:
    """What `airflow dags test` prints while one task runs."""
    state = state or ("success" if exit_code == 0 else "failed")
    return [
        record(f"[DAG TEST] starting task_id={name} map_index=-1"),
        record("Tmp dir root location: /tmp", HOOK),
        record("Running command: ['/usr/bin/bash', '-c', '...']", HOOK),
        record("Output:", HOOK),
        *(record(line, HOOK) for line in printed),
        record(f"Command exited with return code {exit_code}", HOOK),
        record("Task instance state updated", "airflow.api_fastapi", new_state=state),
        record(f"[DAG TEST] end task task_id={name} map_index=-1"),
    ]


def test_log_of_a_run_tells_states_results_and_what_was_printed() -> None:
    log = DagLog()
    lines = [
        *stage_lines("import", "reading fsdd", '{"recordings": 3}'),
        *stage_lines("validate", "error a: b", exit_code=2),
    ]
    printed = [text for line in lines if (text := log.feed(line))]
    log.close()
    assert printed == ["reading fsdd", "error a: b"]
    assert [stage.state for stage in log.stages.values()] == ["done", "failed"] + ["not run"] * (len(STAGES) - 2)
    assert log.stages["import"].result == {"recordings": 3}
    assert log.failed and (log.failed.name, log.failed.exit_code) == ("validate", 2)


def test_the_stages_of_a_chip_are_told_apart() -> None:
    log = DagLog()
    for line in stage_lines("chip.compile", '{"digest": "ab"}'):
        log.feed(line.replace("map_index=-1", "map_index=3"))
    assert log.stages["compile spinnaker"].state == "done"
    assert log.stages["compile spinnaker"].result == {"digest": "ab"}
    assert log.stages["compile loihi2"].state == "waiting"


def test_a_stage_that_is_tried_again_shows_its_last_try() -> None:
    log = DagLog()
    log.feed(record("[DAG TEST] starting task_id=train map_index=-1"))
    log.feed(record("Task instance state updated", "airflow.api_fastapi", new_state="up_for_retry"))
    assert log.stages["train"].state == "retrying"
    for line in stage_lines("train", "epoch 1"):
        log.feed(line)
    assert log.stages["train"].state == "done"


@pytest.mark.parametrize(
    "line", ["", "Traceback:", "[1]", "3", '{"no": "event"}', '{"event": null}', "{", '{"event": ']
)
def test_a_line_that_is_no_record_does_no_harm(line: str) -> None:
    assert DagLog().feed(line) is None


def test_run_that_ends_in_the_middle_of_a_stage_has_failed_there() -> None:
    log = DagLog()
    for line in stage_lines("import")[:4]:
        log.feed(line)
    log.close()
    assert log.failed and log.failed.name == "import"


def test_without_a_terminal_each_line_says_one_thing() -> None:
    log, text = DagLog(), io.StringIO()
    with watching(log, Console(file=text, width=60)) as show:
        for line in [*stage_lines("import", "a line " * 20), *stage_lines("validate", exit_code=1)]:
            show(log.feed(line))
        log.close()
        show(None)
    lines = text.getvalue().splitlines()
    assert lines[0] == "import: running"
    assert lines[1] == "  " + "a line " * 20
    assert lines[2].startswith("import: done, ")
    assert lines[4].startswith("validate: failed, ")
    assert lines[5] == "encode: not run"


def test_a_stage_with_nothing_to_do_is_up_to_date_however_it_says_so() -> None:
    log, text = DagLog(), io.StringIO()
    with watching(log, Console(file=text, width=60)) as show:
        said = {
            "import": '{"up_to_date": true}',
            "evaluate": "  up to date    True  ",
            "train": "  up to date    False ",
        }
        for name, line in said.items():
            for one in stage_lines(name, line):
                show(log.feed(one))
    assert [name for name, stage in log.stages.items() if stage.up_to_date] == ["import", "evaluate"]
    assert "import: up to date, " in text.getvalue() and "evaluate: up to date, " in text.getvalue()
    assert "train: done, " in text.getvalue()


def test_summary_says_that_the_champion_stands() -> None:
    assert "model        version 1 is the champion\n" in summary(
        champion=True, promoted=False, why="version 1 is the champion"
    )


def test_the_uis_pages_of_model_and_dag_are_shown() -> None:
    shown = pages({"Airflow": "http://a:1", "MLflow": "http://b:2/"}, "digits")
    assert (
        shown["DAG"] == "http://a:1/dags/retrain"
        and shown["model"] == "http://b:2/#/models/digits?workflowType=machine_learning"
    )
    assert "model" not in pages({"Airflow": "http://a:1", "MLflow": "sqlite:///x"}, "digits")


def test_on_a_terminal_the_running_stage_shows_its_last_line() -> None:
    log, text = DagLog(), io.StringIO()
    with watching(log, Console(file=text, force_terminal=True, width=80)) as show:
        for line in stage_lines("train", "epoch 1", "epoch 2")[:6]:
            show(log.feed(line))
    assert "epoch 2" in text.getvalue()
    assert all(name in text.getvalue() for name in STAGES)


def summary(**changes: Any) -> str:
    text = io.StringIO()
    print_outcome(OUTCOME | changes, Console(file=text, width=100))
    return text.getvalue()


def test_summary_names_accuracy_version_verdict_times_and_places() -> None:
    text = summary()
    for part in (
        "99.0",
        "97.0 - 100.0",
        "version 3, not promoted: worse than version 2",
        "import up to date",
        "train 30",
    ):
        assert part in text
    assert "Airflow 10" in text and "report.html" in text and "make ui" in text
    assert "SYNTHETIC" not in text
    assert "version 3, champion" in summary(champion=True, promoted=True)


def test_summary_names_a_condition_that_was_left_out_and_how_it_is_measured() -> None:
    left_out = {name: {LEFT_OUT: SKIPPED} for name in ("loihi2", "spinnaker")}
    text = " ".join(summary(chips=OUTCOME["chips"] | {"verdict": {"not_measured": left_out}}).split())
    assert "leave_one_speaker_out: not measured on Loihi 2, SpiNNaker: skipped; `snn-fusion retrain`" in text


def test_synthetic_run_says_so_loudly() -> None:
    assert "SYNTHETIC" in summary(synthetic=True)


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "snn-fusion"), *arguments]


@pytest.fixture
def calls(airflow: Workspace, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in takes the CLI's place; the file lists how it was called."""
    file = airflow.path("calls")
    file.touch()
    monkeypatch.setenv("SNN_FUSION_CLI", str(stand_in))
    monkeypatch.setenv("CALLS", str(file))
    return file


def test_failed_stage_shows_its_own_message_and_passes_its_exit_code_on(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "validate")
    monkeypatch.setenv("FAIL_WITH", "2")
    done = subprocess.run(command("retrain"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "validate failed (exit 2)" in done.stderr
    assert "error speech/7.wav: duration_s: 0.0 is outside 0.05 to 10" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(calls.read_text().splitlines()) == 2


def test_stopped_run_leaves_no_process_behind(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAP", "120")
    run = subprocess.Popen(command("retrain"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not calls.read_text():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.1)
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) >= 2
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=30)
    assert run.returncode not in (0, None), errors
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_settings_of_another_airflow_do_not_leak_in(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snn_fusion.registry.embedded_airflow import environment

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    env = environment(Workspace.default())
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("sqlite:///")
    assert "AIRFLOW__CORE__FERNET_KEY" not in env
    assert env["AIRFLOW_HOME"].startswith(os.environ["SNN_FUSION_HOME"])


def test_wrong_parameters_stop_the_run_before_anything_starts(calls: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 0\n")
    done = subprocess.run(command("retrain", "--params", str(file)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "data: missing" in done.stderr
    assert calls.read_text() == ""


def test_connections_variables_and_secrets_backends_are_passed_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snn_fusion.registry.embedded_airflow import environment

    given = {"AIRFLOW_CONN_LAB": "http://lab", "AIRFLOW_VAR_SITE": "b", "AIRFLOW__SECRETS__BACKEND": "x.Y"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert given.items() <= environment(workspace).items()


def test_a_chip_that_is_skipped_takes_its_later_stages_along_in_the_log() -> None:
    log = DagLog()
    for line in stage_lines("chip.tune", '{"target": "akida", "unavailable": "left out"}', state="skipped"):
        log.feed(line.replace("map_index=-1", "map_index=1"))
    log.close()
    assert {log.stages[f"{stage} akida"].state for stage in ("tune", "compile", "benchmark")} == {"skipped"}
    assert log.stages["tune loihi2"].state == log.stages["compare"].state == "not run"
    assert log.failed is None
