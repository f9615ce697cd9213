"""What backup and restore refuse, by name and with the remedy, before anything is changed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from snn_fusion import cli_backup
from snn_fusion.backup import make, sources
from snn_fusion.backup.drill import drill
from snn_fusion.backup.make import backup
from snn_fusion.backup.restore import Request, restore
from snn_fusion.backup.settings import Settings
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import tracking
from snn_fusion.registry.processes import started
from snn_fusion.workspace import Workspace
from tests.deploy.backing_up import PASSWORD, missing, small_params

pytestmark = pytest.mark.skipif(missing("restic") is not None, reason=str(missing("restic")))
REPLACE = Request(replace=True)


@pytest.fixture(scope="module")
def params() -> Params:
    return small_params()


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in [name for name in os.environ if name.startswith(("SNN_FUSION_BACKUP_", "RESTIC_", "PGBACKREST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(tracking.URI, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "home"))
    made = Workspace(tmp_path / "home")
    made.build("trained", {}, lambda out: {"ok": bool((out / "file").write_text("first"))})
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(place=str(tmp_path / "place"), password=password(tmp_path / "password", PASSWORD))


@pytest.fixture
def kept(ws: Workspace, params: Params, settings: Settings) -> Settings:
    """The settings of a place that holds a backup."""
    backup(params, ws, settings, quick=True)
    return settings


def password(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Nothing but the note of how it ended is written."""

    def seen() -> dict[str, tuple[int, int]]:
        found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        ours = ("state.json", ".lock", ".lock.json")
        return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found if p.name not in ours}

    before = seen()
    yield
    assert seen() == before


@pytest.mark.parametrize("name", [".lock", ".lock.compiled.loihi2", ".fetch.lock"])
def test_a_restore_over_a_stage_at_work_is_refused(
    ws: Workspace, params: Params, kept: Settings, tmp_path: Path, name: str
) -> None:
    holds = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from snn_fusion.workspace import Workspace\n"
            f"with Workspace(Path(sys.argv[1])).lock('train', {name!r}): print('held', flush=True); time.sleep(60)",
            str(ws.root),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holds.stdout and holds.stdout.readline() == "held\n"
        with (
            unchanged(ws.root, tmp_path / "place"),
            pytest.raises(BadInput, match=r"`train` is at work in .*wait until"),
        ):
            restore(params, ws, kept, REPLACE)
    finally:
        holds.kill()
        holds.wait()
    assert restore(params, ws, kept, REPLACE)  # what was killed lets go by itself


def test_a_restore_over_the_uis_is_refused(ws: Workspace, params: Params, kept: Settings) -> None:
    ws.path("airflow").mkdir()
    told = {"pid": os.getpid(), "since": started(os.getpid()), "place": "x", "services": []}
    ws.path("airflow", "ui.json").write_text(json.dumps(told))
    with unchanged(ws.root), pytest.raises(BadInput, match=f"snn-fusion ui: is at work in .* kill {os.getpid()}"):
        restore(params, ws, kept, REPLACE)
    ws.path("airflow", "ui.json").write_text(json.dumps(told | {"since": 1.0}))  # what a killed one left
    assert restore(params, ws, kept, REPLACE)


def test_a_restore_over_a_service_is_refused(ws: Workspace, params: Params, kept: Settings, tmp_path: Path) -> None:
    env = os.environ | {"SNN_FUSION_HOME": str(ws.root)}
    idle = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "snn_fusion.serving.parent", "--port", "3000"]
    serves = subprocess.Popen(idle, env=env)
    elsewhere = subprocess.Popen(idle, env=env | {"SNN_FUSION_HOME": str(tmp_path / "other")})
    try:
        time.sleep(0.3)
        with unchanged(ws.root), pytest.raises(BadInput, match=f"serve: is at work in .*kill {serves.pid}"):
            restore(params, ws, kept, REPLACE)
        serves.kill()
        serves.wait()
        assert restore(params, ws, kept, REPLACE)  # the other one serves from another workspace
    finally:
        for one in (serves, elsewhere):
            one.kill()
            one.wait()


def test_a_wrong_password_is_refused_by_both(ws: Workspace, params: Params, kept: Settings, tmp_path: Path) -> None:
    wrong = replace(kept, password=password(tmp_path / "wrong", "another-password-9876"))
    for work in (lambda: backup(params, ws, wrong), lambda: restore(params, ws, wrong, REPLACE)):
        with unchanged(ws.root, tmp_path / "place"), pytest.raises(BadInput, match="wrong: is not the password of "):
            work()
    assert json.loads(ws.path("backups", "state.json").read_text())["backup"]["ok"] is False


def test_a_missing_password_is_refused_by_both(ws: Workspace, params: Params, kept: Settings, tmp_path: Path) -> None:
    unknown = replace(kept, password=None)
    for work in (lambda: backup(params, ws, unknown), lambda: restore(params, ws, unknown, REPLACE)):
        with (
            unchanged(ws.root, tmp_path / "place"),
            pytest.raises(BadInput, match="put the password that you kept into"),
        ):
            work()
    assert not (tmp_path / "config").exists()  # none is made for backups that have one


def test_a_weak_password_is_refused(ws: Workspace, params: Params, settings: Settings, tmp_path: Path) -> None:
    weak = replace(settings, password=password(tmp_path / "weak", "12345"))
    with pytest.raises(BadInput, match="has 5 characters, not 16 or more"):
        backup(params, ws, weak)
    assert not Path(settings.place).exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "SNN_FUSION_BACKUP_PLACE: no place for backups is named .snn-fusion backup --to DIR"),
        ("{home}/mine", "lies in .*home, and would be lost with it .name a folder on another disk"),
        ("{tmp}/no/such", "there is no folder .*no .mount the disk"),
        ("{tmp}/full", "is neither empty nor a repository of restic"),
        ("rest:http://127.0.0.1:9/x", "cannot be reached or written to: .*connection refused"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(
    ws: Workspace, params: Params, settings: Settings, tmp_path: Path, place: str, said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    named = replace(settings, place=place.format(home=ws.root, tmp=tmp_path))
    with pytest.raises(BadInput, match=said):
        backup(params, ws, named)


def test_a_disk_that_is_not_mounted_is_noticed(ws: Workspace, params: Params, kept: Settings, tmp_path: Path) -> None:
    Path(kept.place).rename(tmp_path / "unmounted")
    Path(kept.place).mkdir()
    with pytest.raises(BadInput, match=r"the backups that were here are gone \(repository \w+\) \(mount or restore it"):
        backup(params, ws, kept)
    assert list(Path(kept.place).iterdir()) == []  # no new repository on the wrong disk
    with pytest.raises(BadInput, match=r"holds no backups, or cannot be reached: .* has no file config"):
        restore(params, ws, kept, REPLACE)


def test_a_place_of_another_workspace_is_refused(ws: Workspace, params: Params, kept: Settings, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    shutil.copytree(ws.root, other.root)
    other.path("backups", "places.json").unlink()
    with pytest.raises(BadInput, match=f"holds the backups of {ws.root} .name a place of its own"):
        backup(params, other, kept)
    shutil.rmtree(ws.root)  # moved, then
    assert backup(params, other, kept, quick=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MB of its own; mounting one takes root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_too_small_is_refused_by_both(
    ws: Workspace, params: Params, settings: Settings, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.path("trained", "large").write_bytes(os.urandom(8_000_000))
    with pytest.raises(BadInput, match=r"the backup takes up to 8\.. MB, and 2.\.. MB are free there .free some space"):
        backup(params, ws, replace(settings, place=str(small_disk / "place")))
    assert list(small_disk.iterdir()) == []
    backup(params, ws, settings, quick=True)
    monkeypatch.setenv("SNN_FUSION_HOME", str(small_disk))
    with pytest.raises(BadInput, match="the restore takes up to 8"):
        restore(params, Workspace(small_disk), settings, Request())
    assert {path.name for path in small_disk.iterdir()} <= {"backups", ".lock"}


def test_a_backup_of_a_later_mlflow_is_refused(
    ws: Workspace, params: Params, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(make, "installed", lambda name: "99.1.0")
        backup(params, ws, settings, quick=True)
    said = f"mlflow: the backup's database is of version 99.1.0, and here is {version('mlflow')} .restore it with"
    with unchanged(ws.root), pytest.raises(BadInput, match=said):
        restore(params, ws, settings, REPLACE)
    assert not ws.path(sources.REPLACED).exists()


def test_a_drill_without_anything_to_compare_says_so(ws: Workspace, params: Params, settings: Settings) -> None:
    backup(params, ws, settings)
    with pytest.raises(BadInput, match=r"has no champion's answers.*snn-fusion retrain"):
        drill(params, ws, settings)
    noted = json.loads(ws.path("backups", "state.json").read_text())["drill"]
    assert noted["ok"] is False and "no champion" in noted["error"]


def test_a_drill_fails_where_the_newest_backup_is_damaged(ws: Workspace, params: Params, settings: Settings) -> None:
    backup(params, ws, settings, quick=True)
    before = set(Path(settings.place, "snapshots").iterdir())
    backup(params, ws, settings)
    (new,) = set(Path(settings.place, "snapshots").iterdir()) - before
    new.chmod(0o600)
    new.write_bytes(new.read_bytes()[:-5])
    with pytest.raises(SnnFusionError, match=r"could not load snapshot .*the one before is taken"):
        drill(params, ws, settings)
    assert json.loads(ws.path("backups", "state.json").read_text())["drill"]["ok"] is False


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    for name in ("backup", "restore", "drill"):
        made.command(name)(getattr(cli_backup, name))
    return made


def test_the_commands_refuse_what_makes_no_sense_together(app: typer.Typer, ws: Workspace) -> None:
    for words, said in {
        ("backup", "--schedule", "--quick"): "--schedule: takes its place from the environment",
        ("restore", "--replace"): "--at, --only, --replace: are for a place of backups",
        ("restore", "--from", "/x", "--at", "soon"): "--at: 'soon' is no moment",
        ("restore", "--from", "/x", "--only", "postgres", "--replace"): "--only postgres: no PostgreSQL is configured",
        ("drill",): "there is no such file, and without the password no backup can be read",
    }.items():
        done = CliRunner().invoke(app, list(words))
        assert isinstance(done.exception, BadInput) and said in str(done.exception), (words, done.exception)


def test_a_program_that_is_not_installed_is_named(
    app: typer.Typer, ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["backup", "--to", str(tmp_path / "place")])
    assert "restic: is not installed (apt-get install restic" in str(done.exception)
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(app, ["backup", "--to", str(tmp_path / "place")])
    assert "there is no workspace to back up" in str(done.exception)
