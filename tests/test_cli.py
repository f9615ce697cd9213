"""The command line: help that is quick and complete, exit codes, errors without tracebacks, telemetry off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from snn_fusion import cli
from snn_fusion.cli import app
from snn_fusion.libraries import CACHES, TELEMETRY_OFF
from snn_fusion.registry.dag_log import CHIP, STAGES
from snn_fusion.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).parent / "snn-fusion"
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)
HEAVY = (
    "torch",
    "great_expectations",
    "mlflow",
    "airflow",
    "matplotlib",
    "pandas",
    "numba",
    "scipy",
    "pyarrow",
    "dvc",
    "optuna",
)


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "200"} | variables
    return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=120, env=env)


def test_every_command_has_help_with_a_sentence_and_its_options() -> None:
    assert {"import", "validate", "encode", "train", "evaluate", "register", "promote", "search", "retrain"} <= set(
        COMMANDS
    )
    for name in COMMANDS:
        result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert result.exit_code == 0
        assert "Usage:" in result.output and "--help" in result.output
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        assert command.help and command.help.strip().splitlines()[0].endswith((".", "?"))


def test_help_and_start_import_nothing_heavy() -> None:
    code = f"""
import sys
import snn_fusion.cli
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_argument_shows_the_commands() -> None:
    done = run()
    assert all(name in done.stdout + done.stderr for name in COMMANDS)


def test_unknown_command_and_option_exit_with_2() -> None:
    assert run("trian").returncode == 2
    assert run("train", "--epochs", "3").returncode == 2


def test_wrong_parameters_exit_with_2_naming_file_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((ROOT / "params.yaml").read_text().replace(" epochs: 50", " epochs: -50"))
    for arguments in (("params",), ("train",), ("import",)):
        done = run(*arguments, "--params", str(file))
        assert done.returncode == 2
        assert f"{file}: training.epochs = -" in done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""


def test_brackets_in_a_message_are_shown_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((ROOT / "params.yaml").read_text().replace("official ", "'[bold]' "))
    assert "data.split = '[bold]'" in run("params", "--params", str(file)).stderr


def test_params_prints_what_is_in_force() -> None:
    done = run("params")
    assert done.returncode == 0
    assert json.loads(done.stdout)["registry"]["model"] == "snn-fusion"


@pytest.mark.parametrize(
    ("command", "before"),
    [("validate", "import"), ("encode", "validate"), ("train", "encode"), ("evaluate", "validate")],
)
def test_stage_before_its_time_names_the_command_to_run(command: str, before: str, workspace: Workspace) -> None:
    done = run(command)
    assert done.returncode == 2
    assert f"run `snn-fusion {before}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    done = run("encode", SNN_FUSION_HOME=str(in_the_way))
    assert done.returncode == 2
    assert str(in_the_way) in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("trial",), "--slot: is missing: which trial? (`snn-fusion search plan` lists the slots)"),
        (("best", "--slot", "1"), "--slot: means nothing to `search best` (it is for trial)"),
        (("trial", "--slot", "1", "--trials", "3"), "--trials: means nothing to `search trial` (it is for all, plan)"),
        (("plan", "--jobs", "2"), "--jobs: means nothing to `search plan` (it is for all)"),
        (("plan",), "run `snn-fusion encode`"),
    ],
)
def test_search_refuses_what_a_step_does_not_know(options: tuple[str, ...], message: str, workspace: Workspace) -> None:
    done = run("search", *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_telemetry_is_off_before_anything_else_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}
    for name in TELEMETRY_OFF:
        monkeypatch.setenv(name, "on")
    monkeypatch.setattr(cli, "app", lambda: seen.update(os.environ))
    cli.main()
    assert {name: seen[name] for name in TELEMETRY_OFF} == TELEMETRY_OFF
    assert len(TELEMETRY_OFF) >= 6


def test_every_command_shows_examples_of_itself() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
        assert "Examples" in shown and f"snn-fusion {name}" in shown.split("Examples")[1], name


def test_the_list_of_stages_is_that_of_the_dag() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    said, own = " ".join(shown.split()), [name for name in STAGES if " " not in name]
    network, release = own[: own.index("compare")], own[own.index("compare") :]
    for names in (network, CHIP, release):
        assert ", ".join(names) in said


def test_what_libraries_keep_lies_in_the_workspace_unless_the_user_says_else(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    seen: dict[str, str] = {}
    for name in CACHES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPLCONFIGDIR", "/elsewhere")
    monkeypatch.setattr(cli, "app", lambda: seen.update(os.environ))
    cli.main()
    assert seen["NUMBA_CACHE_DIR"] == str(workspace.path("cache", "numba"))
    assert seen["TORCHINDUCTOR_CACHE_DIR"] == str(workspace.path("cache", "torchinductor"))
    assert seen["MPLCONFIGDIR"] == "/elsewhere"
    assert not workspace.root.exists()


def test_output_that_nobody_reads_is_no_error() -> None:
    process = subprocess.Popen([str(PROGRAM), "params"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.wait(30)
    assert "Traceback" not in process.stderr.read()


def test_the_command_is_what_the_project_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"snn-fusion": "snn_fusion.cli:main"}
