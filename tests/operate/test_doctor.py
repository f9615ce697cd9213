"""`snn-fusion doctor`: each check passes on a good installation, and fails with its remedy on a bad one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.backup.settings import PREFIX as BACKUP
from snn_fusion.deploy import certificate, secret_files
from snn_fusion.deploy.engine import ONCE
from snn_fusion.errors import BadInput
from snn_fusion.operate import migrations, variables
from snn_fusion.operate.checks import Check, NotApplicable, run
from snn_fusion.operate.installation import installation_checks
from snn_fusion.operate.stack_checks import check_certificate, check_secrets, containers
from snn_fusion.registry.tracking import URI
from snn_fusion.serving.settings import PREFIX as SERVE
from snn_fusion.workspace import PACKAGE, Workspace
from tests.deploy.certificates import certificate as short_lived
from tests.deploy.pipeline import put, put_backups

ROOT = PACKAGE.parents[1]
CLI = Path(sys.executable).parent / "snn-fusion"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [URI, *(name for name in os.environ if name.startswith("SNN_FUSION_"))]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def outcomes(ws: Workspace, params: Path = ROOT / "params.yaml") -> dict[str, Any]:
    """By check's name; those that import MLflow and Airflow are tried on their own."""
    slow = ("registry", "MLflow's schema", "Airflow's schema")
    return {check.name: run(check) for check in installation_checks(ws, params) if check.name not in slow}


def test_a_good_installation_has_no_failure(ws: Workspace) -> None:
    put_backups(ws)
    found = outcomes(ws)
    assert {name: one.seen for name, one in found.items() if one.state == "fail"} == {}
    assert found["packages"].seen.endswith("installed, as in the lock")
    assert found["backups"].state == found["restore drill"].state == "pass"


def test_what_an_installation_does_not_have_is_skipped_and_says_why(ws: Workspace) -> None:
    found = outcomes(ws)
    assert found["backups"].state == "skipped" and "docs/backup.md" in found["backups"].seen
    assert found["restore drill"].state == "skipped"


def test_a_package_of_another_version_than_the_lock_is_named(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "requirements.lock").write_text("httpx==0.0.1 \\\n    --hash=sha256:00\n")
    monkeypatch.chdir(tmp_path)
    failed = outcomes(ws)["packages"]
    assert failed.state == "fail" and failed.remedy == "make setup"
    assert "wants httpx==0.0.1, installed is" in failed.seen


def test_parameters_that_cannot_be_used_are_named(ws: Workspace, tmp_path: Path) -> None:
    params = tmp_path / "mine.yaml"
    params.write_text("training: {epoch: 3}\n")
    failed = outcomes(ws, params)["parameters"]
    assert failed.state == "fail" and "mine.yaml" in failed.seen and "training.epoch" in failed.seen


@pytest.mark.parametrize(
    ("name", "value", "check", "said", "remedy"),
    [
        (
            "SNN_FUSION_HOMEE",
            "/x",
            "variables",
            "SNN_FUSION_HOMEE: is read by nothing",
            "did you mean SNN_FUSION_HOME?",
        ),
        ("SNN_FUSION_NOTIFY_MIAL", "a@b.c", "variables", "is read by nothing", "did you mean SNN_FUSION_NOTIFY_MAIL?"),
        (f"{SERVE}THREAD", "2", "service settings", "is not known", "there are:"),
        (f"{SERVE}KEYS", "/nowhere/keys.json", "service settings", "/nowhere/keys.json", ""),
        (f"{BACKUP}PLACES", "/x", "backups", "is not known", "there are:"),
        (f"{BACKUP}PLACE", "/x", "backups", "was never made", "snn-fusion backup"),
    ],
)
def test_a_wrong_variable_is_named_with_its_remedy(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str, said: str, remedy: str
) -> None:
    monkeypatch.setenv(name, value)
    failed = outcomes(ws)[check]
    assert failed.state == "fail" and said in failed.seen and remedy in failed.remedy


def test_the_known_variables_are_those_that_the_code_reads() -> None:
    places = [*PACKAGE.rglob("*.py"), *(ROOT / "dags").rglob("*.py"), ROOT / "docker" / "compose.yaml"]
    text = "".join(path.read_text() for path in places if path.name != "variables.py")
    used = {f"SNN_FUSION_{name}" for name in re.findall(r"(?<![A-Z_])SNN_FUSION_([A-Z][A-Z0-9_]*[A-Z0-9])\b", text)}
    compose = set(re.findall(r"\$\{(SNN_FUSION_[A-Z0-9_]+)", (ROOT / "docker" / "compose.yaml").read_text()))
    made_by_up = compose - variables.KNOWN  # `up` itself gives them to Compose
    ours = {name for name in used if not name.startswith(variables.CHECKED_ELSEWHERE)} - made_by_up - variables.NOTIFY
    assert ours == variables.KNOWN


def test_a_workspace_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert outcomes(Workspace(tmp_path / "file" / "workspace"))["workspace"].state == "fail"


@pytest.mark.parametrize(
    ("backup", "said"),
    [
        ({"ok": False, "error": "the place is full"}, "the place is full"),
        ({"verified": False}, "not verified"),
        ({"at": (datetime.now(UTC) - timedelta(hours=40)).isoformat()}, "40 h old"),
    ],
)
def test_a_backup_that_cannot_be_relied_on_fails(ws: Workspace, backup: dict[str, Any], said: str) -> None:
    put_backups(ws, backup)
    failed = outcomes(ws)["backups"]
    assert failed.state == "fail" and said in failed.seen and "snn-fusion backup" in failed.remedy


def test_a_drill_too_long_ago_fails(ws: Workspace) -> None:
    put_backups(ws, drill={"at": (datetime.now(UTC) - timedelta(days=9)).isoformat()})
    assert outcomes(ws)["restore drill"].state == "fail"


def test_too_few_open_files_fail_and_the_command_exits_with_1(ws: Workspace) -> None:
    command = f"ulimit -n 512; exec {CLI} doctor --json"
    environment = {**os.environ, "SNN_FUSION_HOME": str(ws.root), "SNN_FUSION_STATE": str(ws.root / "no-stack")}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert found["open files"] | {"group": ""} == {
        "group": "",
        "name": "open files",
        "state": "fail",
        "seen": "open files: the limit is 512, 1024 are needed",
        "remedy": "ulimit -n 1024",
    }
    assert {name for name, one in found.items() if one["state"] == "fail"} == {"open files"}


def database(path: Path, *revisions: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE alembic_version (version_num TEXT)")
        db.executemany("INSERT INTO alembic_version VALUES (?)", [(one,) for one in revisions])
    return f"sqlite:///{path}"


def test_a_database_of_another_release_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (head,) = migrations.heads("mlflow")
    assert migrations.check("mlflow", database(tmp_path / "now.db", head)) == f"revision {head}"
    oldest = next(name for name, before in migrations.revisions("mlflow").items() if not before)
    for name, revisions, said, remedy in (
        ("newer", ("ffffffffffff",), "is of a newer mlflow: ffffffffffff", "install the mlflow that last wrote it"),
        ("older", (oldest,), f"is at {oldest}, this mlflow needs {head}", "mlflow db upgrade"),
        ("half", (), f"is at no revision, this mlflow needs {head}", "mlflow db upgrade"),
    ):
        with pytest.raises(BadInput) as refused:
            migrations.check("mlflow", database(tmp_path / f"{name}.db", *revisions))
        assert refused.value.problem == said and refused.value.remedy.startswith(remedy)
    with pytest.raises(BadInput, match="cannot be read: no such table"):
        sqlite3.connect(tmp_path / "empty.db").close()
        migrations.check("mlflow", f"sqlite:///{tmp_path / 'empty.db'}")


@pytest.mark.parametrize("package", list(migrations.SCRIPTS))
def test_the_revisions_that_are_read_are_those_that_alembic_knows(package: str) -> None:
    spec = find_spec(package)
    assert spec and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / migrations.SCRIPTS[package]
    code = "import sys; from alembic.script import ScriptDirectory; print(*ScriptDirectory(sys.argv[1]).get_heads())"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()[-1:]) == migrations.heads(package)


def test_a_certificate_about_to_end_and_an_open_secret_fail(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret_files.make(folder)
    certificate.settle(folder, "localhost", None)
    assert "for localhost, until" in check_certificate(folder, "localhost")
    assert "for their owner only" in check_secrets(folder)
    (folder / "metrics_token").chmod(0o644)
    with pytest.raises(BadInput, match="metrics_token: holds a secret that others"):
        check_secrets(folder)
    with pytest.raises(BadInput, match=r"is for localhost, 127\.0\.0\.1, not for snn\.example\.org"):
        check_certificate(folder, "snn.example.org")
    other = tmp_path / "soon"
    other.mkdir()
    short_lived(other, datetime.now(UTC) + timedelta(days=3))
    assert run(Check("", "", lambda: check_certificate(other, "localhost"))).state == "fail"


def test_a_container_that_was_stopped_fails_although_it_ended_well_and_a_migration_may_end() -> None:
    ended = {"State": "exited", "ExitCode": 0, "Health": "", "Name": "snn-fusion-nginx-1"}
    runs = {"State": "running", "ExitCode": 0, "Health": "healthy"}
    assert containers({"mlflow-migrate": ended, "app-1": runs}) == "2 as they should be"
    with pytest.raises(BadInput, match=r"nginx: is exited.*docker logs snn-fusion-nginx-1"):
        containers({"nginx": ended, "app-1": runs})
    with pytest.raises(BadInput, match="app-1: is unhealthy"):
        containers({"app-1": runs | {"Health": "unhealthy", "Name": "snn-fusion-app-1-1"}})


def test_the_services_that_may_end_are_those_that_compose_does_not_restart() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    once = {name for name, service in services.items() if service["restart"] == "no"}
    assert once == {*ONCE, "restore"}  # which `up` never starts


def test_a_check_that_cannot_be_made_has_failed_and_one_without_object_is_skipped() -> None:
    def broken() -> str:
        raise PermissionError(13, "Permission denied", "/x")

    def absent() -> str:
        raise NotApplicable("none here")

    assert run(Check("g", "n", broken)).state == "fail"
    assert run(Check("g", "n", absent)).seen == "none here"


def test_status_shows_all_that_is_there_and_says_why_a_part_cannot_be_read(ws: Workspace) -> None:
    put(ws, "trained/stage.json", {})
    put_backups(ws, drill={"ok": False, "error": "another champion"})
    environment = {
        **os.environ,
        "SNN_FUSION_HOME": str(ws.root),
        "SNN_FUSION_STATE": str(ws.root / "no-stack"),
        URI: "http://127.0.0.1:9",
    }
    done = subprocess.run([CLI, "status", "--json"], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["installation"]["workspace"] == str(ws.root)
    assert found["retraining"] == {"trained": found["retraining"]["trained"]}
    assert found["backups"]["drill"].startswith("failed: another champion, just now")
    assert "MLflow cannot be used at http://127.0.0.1:9" in found["registry"]["problem"]
    assert "none was started here" in found["services"]["stack"]
