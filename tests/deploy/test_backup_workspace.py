"""Backups of a workspace with SQLite, and their restore, with the real restic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snn_fusion.backup import make, sources, state
from snn_fusion.backup.drill import drill
from snn_fusion.backup.make import backup
from snn_fusion.backup.password import default_password_file
from snn_fusion.backup.restic import Repository
from snn_fusion.backup.restore import Request, restore
from snn_fusion.backup.settings import Settings
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import ledger, tracking
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.tracking import database
from snn_fusion.workspace import Workspace, file_digest
from tests.deploy.backing_up import PASSWORD, install, missing, small_params

pytestmark = pytest.mark.skipif(missing("restic") is not None, reason=str(missing("restic")))
shares = pytest.mark.xdist_group("backup")  # one worker: an installation takes seconds to make


@pytest.fixture(scope="module")
def params() -> Params:
    return small_params()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Workspace:
    """A workspace with a champion, not to be changed."""
    scratch = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNN_FUSION_HOME", str(scratch / "home"))
        patch.delenv(tracking.URI, raising=False)
        ws = Workspace(scratch / "home")
        install(ws, params, scratch)
    return ws


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a workspace is to lie, with nothing of this user's own settings."""
    for name in [name for name in os.environ if name.startswith(("SNN_FUSION_BACKUP_", "RESTIC_", "PGBACKREST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(tracking.URI, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


@pytest.fixture
def ws(home: Path, installed: Workspace) -> Workspace:
    """A copy of the installation with a champion."""
    shutil.copytree(installed.root, home)
    return Workspace(home)


@pytest.fixture
def plain(home: Path) -> Workspace:
    """A workspace without a registry, in which a backup takes a second."""
    made = Workspace(home)
    put(made, "trained", "first")
    made.path("reference").mkdir()
    made.path("reference", "profile.json").write_text("{}")
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    return Settings(place=str(tmp_path / "place"), password=password)


def put(ws: Workspace, stage: str, content: str) -> None:
    ws.build(stage, {"content": content}, lambda out: {"ok": bool((out / "file").write_text(content))})


def listing(folder: Path) -> dict[str, str]:
    """Files and what is in them, without what belongs to a place."""
    left_out = ("cache", "backups", ".building", "dvc", ".replaced")
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(k): file_digest(p) for k, p in found.items() if k.parts[0] not in left_out and p.suffix != ".lock"}


def restic(settings: Settings, *command: str) -> str:
    env = os.environ | {"RESTIC_REPOSITORY": settings.place, "RESTIC_PASSWORD_FILE": str(settings.password)}
    done = subprocess.run(["restic", "--no-cache", *command], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def packs(settings: Settings) -> set[Path]:
    return set(Path(settings.place, "data").rglob("*/*"))


def damage(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@shares
def test_a_deleted_workspace_comes_back_with_champion_record_and_answers(
    ws: Workspace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, record = listing(ws.root), ws.path(RECORD).read_bytes()
    made = backup(params, ws, Settings(place=str(tmp_path / "place")))  # the password is made on this first use
    assert made["verified"] and made["champion"] == "1" and str(default_password_file()) in made["password"]
    assert default_password_file().stat().st_mode & 0o777 == 0o600
    noted = json.loads(ws.path("backups", "state.json").read_text())["backup"]
    assert (noted["ok"], noted["verified"], noted["error"]) == (True, True, "") and noted["bytes"] > 100_000

    tried = drill(params, ws, Settings(place=str(tmp_path / "place")))
    assert tried["champion"] == "1" and tried["answers"] == "10 recordings, the same"
    assert state.read(ws)["drill"]["ok"] and not ws.path("backups", "drill").exists()

    shutil.rmtree(ws.root)
    new = Workspace(tmp_path / "elsewhere")
    monkeypatch.setenv("SNN_FUSION_HOME", str(new.root))
    result = restore(params, new, Settings(place=str(tmp_path / "place")), Request())
    assert (result["champion"], result["decisions"]) == ("1", 1)
    assert result["answers"] == "10 recordings, as when it was backed up" and "damaged" not in result
    after = listing(new.root)
    assert {name for name in before if before[name] != after.get(name)} == {"mlflow/mlflow.db"}  # its places are these
    assert new.path(RECORD).read_bytes() == record and len(ledger.read(new.path(RECORD))) == 1
    assert not ws.root.exists() and not new.path(sources.STAGING).exists() and not new.path(sources.RESTORING).exists()
    with closing(sqlite3.connect(database(new))) as known:
        places = [uri for (uri,) in known.execute("SELECT artifact_uri FROM runs")]
    assert places and all(uri.startswith(new.root.as_uri() + "/mlflow") for uri in places)
    assert promote(params, new)["reason"] == "version 1 is the champion"


@shares
def test_what_is_not_whole_is_backed_up_all_the_same_and_said(
    ws: Workspace, params: Params, settings: Settings
) -> None:
    (weights,) = ws.path("mlflow", "artifacts").rglob("graph/weights.safetensors")
    shutil.rmtree(ws.path("cache"), ignore_errors=True)
    damage(weights)
    with pytest.raises(SnnFusionError, match=r"the backup \w+ is whole, but the installation is not: .*digest"):
        backup(params, ws, settings)
    noted = state.read(ws)["backup"]
    assert noted["ok"] is False and "digest" in noted["error"]
    with pytest.raises(SnnFusionError, match=r"no backup can be restored:\nbackup \w+ of .* is damaged \(.*digest"):
        restore(params, ws, settings, Request(replace=True))
    assert database(ws).exists() and not ws.path(sources.REPLACED).exists()  # nothing was replaced by it


def test_the_state_of_a_moment_comes_back_and_what_was_there_is_kept(
    plain: Workspace, params: Params, settings: Settings
) -> None:
    backup(params, plain, settings, quick=True)
    between = datetime.now(UTC)
    put(plain, "trained", "second")
    backup(params, plain, settings, quick=True)
    put(plain, "trained", "third")
    plain.path("note").write_text("never backed up")
    with pytest.raises(BadInput, match="is not empty: note is there"):
        restore(params, plain, settings, Request())
    result = restore(params, plain, settings, Request(at=between, replace=True))
    assert plain.path("trained", "file").read_text() == "first"
    (old,) = [Path(one) for one in result["replaced"]]
    assert (old / "trained" / "file").read_text() == "third" and (old / "note").exists()
    assert restore(params, plain, settings, Request(replace=True))
    assert plain.path("trained", "file").read_text() == "second"
    assert plain.path("backups", "places.json").exists()  # which belongs to the place, not to the backup
    with pytest.raises(BadInput, match=r"--at: the oldest backup is of .*name a later moment"):
        restore(params, plain, settings, Request(at=between - timedelta(days=1), replace=True))


def damaged_pack(plain: Workspace, params: Params, settings: Settings) -> None:
    before = packs(settings)
    put(plain, "trained", "second " * 2000)
    backup(params, plain, settings, quick=True)
    damage(max(packs(settings) - before, key=lambda path: path.stat().st_size))


def damaged_snapshot(plain: Workspace, params: Params, settings: Settings) -> None:
    before = set(Path(settings.place, "snapshots").iterdir())
    put(plain, "trained", "second")
    backup(params, plain, settings, quick=True)
    (new,) = set(Path(settings.place, "snapshots").iterdir()) - before
    damage(new)


@pytest.mark.parametrize("harm", [damaged_pack, damaged_snapshot])
def test_a_damaged_backup_is_named_and_the_one_before_is_taken(
    plain: Workspace,
    params: Params,
    settings: Settings,
    harm: Callable[[Workspace, Params, Settings], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = backup(params, plain, settings, quick=True)["snapshot"]
    harm(plain, params, settings)
    shutil.rmtree(plain.root)
    result = restore(params, plain, settings, Request())
    assert plain.path("trained", "file").read_text() == "first" and result["backup"].startswith(first)
    (said,) = result["damaged"]
    assert settings.place in said and said.endswith("the one before is taken")
    assert " ".join(said.split()) in " ".join(capsys.readouterr().err.split())


def test_reading_back_finds_damage_and_the_documented_steps_mend_it(
    plain: Workspace, params: Params, settings: Settings
) -> None:
    backup(params, plain, settings, quick=True)
    damaged_pack(plain, params, settings)
    with pytest.raises(SnnFusionError, match="Pack ID does not match, want ") as found:
        backup(params, plain, settings)
    noted = state.read(plain)["backup"]
    assert noted["ok"] is False and noted["verified"] is False and "Pack ID" in noted["error"]
    bad = str(found.value).split("want ")[1].split(",")[0]
    assert list(Path(settings.place, "data").rglob(bad))  # it is named as it is on the disk
    aside = settings.place + ".damaged"
    Path(settings.place).rename(aside)
    plain.path("backups", "places.json").unlink()
    assert backup(params, plain, settings)["verified"]
    shutil.rmtree(plain.root)
    restore(params, plain, settings, Request())
    assert plain.path("trained", "file").read_text() == "second " * 2000
    restore(params, plain, replace(settings, place=aside), Request(replace=True))  # what is whole there still is
    assert plain.path("trained", "file").read_text() == "first"


def test_a_damaged_snapshot_does_not_keep_the_next_one_from_being_taken(
    plain: Workspace, params: Params, settings: Settings
) -> None:
    backup(params, plain, settings, quick=True)
    damaged_snapshot(plain, params, settings)
    put(plain, "trained", "third")
    assert backup(params, plain, settings, quick=True)
    shutil.rmtree(plain.root)
    restore(params, plain, settings, Request())
    assert plain.path("trained", "file").read_text() == "third"


def test_the_second_place_has_all_and_stands_in_for_the_first(
    plain: Workspace, params: Params, settings: Settings, tmp_path: Path
) -> None:
    both = Settings(place=settings.place, second=str(tmp_path / "second"), password=settings.password)
    assert backup(params, plain, both)["second"] == both.second
    for pack in packs(both):
        damage(pack)
    shutil.rmtree(plain.root)
    result = restore(params, plain, both, Request())
    assert plain.path("trained", "file").read_text() == "first"
    assert result["place"] == both.second and len(result["damaged"]) == 1
    shutil.rmtree(plain.root)
    shutil.rmtree(both.place)
    assert restore(params, plain, both, Request())["place"] == both.second


def test_a_database_is_whole_while_it_is_written_to(plain: Workspace, params: Params, settings: Settings) -> None:
    path = plain.path("search", "study.db")
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE pairs (n INTEGER)")
        db.commit()
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as db:
            while not stop.is_set():
                db.executemany("INSERT INTO pairs VALUES (?)", [(1,), (-1,)])  # always two, or none
                db.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup(params, plain, settings, quick=True)
    finally:
        stop.set()
        writer.join()
    shutil.rmtree(plain.root)
    restore(params, plain, settings, Request())
    assert sorted(one.name for one in path.parent.iterdir()) == ["study.db"]
    with closing(sqlite3.connect(path)) as db:
        count, total = db.execute("SELECT count(*), sum(n) FROM pairs").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert count > 0 and count % 2 == 0 and total == 0


def test_a_stage_that_is_replaced_meanwhile_is_never_half_of_each(
    plain: Workspace, params: Params, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading of one folder and the next, a stage and the one after it are replaced."""
    real, taken = Repository.take_snapshot, list[str]()

    def take_snapshot(self: Repository, *arguments: object, **named: object) -> object:
        found = real(self, *arguments, **named)  # type: ignore[arg-type]
        taken.append(found.id)
        if len(taken) == 1:
            put(plain, "trained", "second")
            put(plain, "evaluated", "of the second")
        return found

    monkeypatch.setattr(Repository, "take_snapshot", take_snapshot)
    made = backup(params, plain, settings)
    assert len(taken) == 2 and made["snapshot"] == taken[1] and made["kept"] == 1
    shutil.rmtree(plain.root)
    restore(params, plain, settings, Request())
    assert plain.path("trained", "file").read_text() == "second"
    assert plain.path("evaluated", "file").read_text() == "of the second"


def test_a_workspace_whose_stages_are_always_replaced_is_refused(
    plain: Workspace, params: Params, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = iter(range(1000))
    monkeypatch.setattr(sources, "fingerprint", lambda ws: next(changes))
    monkeypatch.setattr(make, "ATTEMPTS", 2)
    with pytest.raises(SnnFusionError, match="replaced during each of 2 attempts: back it up between two runs"):
        backup(params, plain, settings, quick=True)
    assert json.loads(restic(settings, "snapshots", "--json")) == []


DIES = """
import json, os, signal, sys
from pathlib import Path
from snn_fusion.backup import restore
from snn_fusion.backup.settings import Settings
from snn_fusion.config import check_params
from snn_fusion.workspace import Workspace

root, place, password, params, dies_after = sys.argv[1:]
rename, renamed = Path.rename, []

def die(self, target):
    renamed.append(rename(self, target))
    if self.parent.name == "workspace" or str(target).find(".replaced") > 0:
        if sum(".restoring" not in str(one) for one in renamed) >= int(dies_after):
            os.kill(os.getpid(), signal.SIGKILL)
    return renamed[-1]

Path.rename = die
settings = Settings(place=place, password=Path(password))
restore.restore(check_params(json.loads(params)), Workspace(Path(root)), settings, restore.Request(replace=True))
"""


@pytest.mark.parametrize("dies_after", [1, 3])
def test_a_killed_restore_loses_nothing_and_can_be_run_again(
    plain: Workspace, params: Params, settings: Settings, dies_after: int
) -> None:
    backup(params, plain, settings, quick=True)
    put(plain, "trained", "newer")
    words = [str(plain.root), settings.place, str(settings.password), params.model_dump_json(), str(dies_after)]
    killed = subprocess.run([sys.executable, "-c", DIES, *words], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    restore(params, plain, settings, Request())  # not refused, though the workspace is not empty
    assert plain.path("trained", "file").read_text() == "first" and plain.path("reference", "profile.json").exists()
    aside = [path.read_text() for path in plain.path(sources.REPLACED).glob("*/trained/file")]
    assert "newer" in aside and not plain.path(sources.RESTORING).exists()


def test_a_backup_does_not_wait_for_a_training(plain: Workspace, params: Params, settings: Settings) -> None:
    with plain.lock("train"):  # which takes hours
        assert backup(params, plain, settings)["verified"]


def test_the_last_snapshot_of_each_day_is_kept_for_as_many_days_as_are_set(
    plain: Workspace, params: Params, settings: Settings
) -> None:
    backup(params, plain, settings, quick=True)
    now = datetime.now(UTC)
    for days in (1, 1.01, 2, 3, 4):
        when = (now - timedelta(days=days)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        restic(settings, "backup", "--tag=snn-fusion", f"--time={when}", str(plain.path("reference")))
    kept = backup(params, plain, replace(settings, keep_days=3))
    found = [one["time"] for one in json.loads(restic(settings, "snapshots", "--json"))]
    ages = sorted(
        round((now - datetime.fromisoformat(one[:19] + "+00:00")).total_seconds() / 86400, 1) for one in found
    )
    assert ages[:2] == [0.0, 0.0] and ages[-1] == 2.0 and kept["kept"] == len(found) == 4  # both of today


def test_no_password_in_a_command_line_an_environment_or_the_backup(
    plain: Workspace, params: Params, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in restic's place keeps what it is called with, and calls restic."""
    seen, real = tmp_path / "seen", shutil.which("restic")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "restic"
    program.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >> {seen}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "keys.json").write_text("public")
    (keys / "password").write_text(PASSWORD)
    (keys / "password").chmod(0o600)
    named = Settings(place=settings.place, password=keys / "password", configuration=(keys,))
    backup(params, plain, named)
    shutil.rmtree(plain.root)
    result = restore(params, plain, named, Request())
    assert len(seen.read_text()) > 1000 and PASSWORD not in seen.read_text()
    (beside,) = [Path(one) for one in result["beside"]]
    assert [path.name for path in beside.rglob("*") if path.is_file()] == ["keys.json"]
    assert beside.parent.stat().st_mode & 0o077 == 0  # keys, for this user only
