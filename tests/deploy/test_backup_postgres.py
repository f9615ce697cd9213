"""Backups of PostgreSQL and its restore to a moment, with the real server, pgBackRest and restic."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from snn_fusion.backup.cluster import Cluster
from snn_fusion.backup.make import backup
from snn_fusion.backup.restore import Request, restore
from snn_fusion.backup.settings import Only, Settings
from snn_fusion.backup.tools import Damaged
from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import tracking
from snn_fusion.workspace import Workspace
from tests.deploy.backing_up import BACKUP, PASSWORD, Server, missing, server, small_params

NEEDS = missing("restic", "pgbackrest", "postgres", "psql", "pg_isready")
pytestmark = pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS))
REPLACE = Request(replace=True)


@pytest.fixture
def pg(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in [name for name in os.environ if name.startswith(("SNN_FUSION_BACKUP_", "RESTIC_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(tracking.URI, raising=False)
    with server() as made:
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        made.ask("CREATE TABLE t (n INTEGER)")
        yield made


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder into which PostgreSQL's user can get."""
    made = Path(tempfile.mkdtemp(prefix="snn-backup-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def ws(base: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SNN_FUSION_HOME", str(base / "home"))
    made = Workspace(base / "home")
    made.path("reference").mkdir(parents=True)
    return made


@pytest.fixture
def settings(base: Path) -> Settings:
    (base / "password").write_text(PASSWORD)
    (base / "password").chmod(0o600)
    return Settings(place=str(base / "place"), password=base / "password", stanza="snn-fusion")


@pytest.fixture(scope="module")
def params() -> Params:
    return small_params()


def write(pg: Server, ws: Workspace, number: int) -> None:
    """The same into the database and the workspace."""
    pg.ask(f"INSERT INTO t VALUES ({number})")
    ws.path("reference", "number").write_text(str(number))


def both(pg: Server, ws: Workspace) -> tuple[str, str]:
    pg.start()
    return pg.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM t"), ws.path("reference", "number").read_text()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def now() -> datetime:
    time.sleep(1.1)  # pgBackRest and restic name moments to the second
    return datetime.now(UTC)


def test_an_emptied_database_and_a_deleted_volume_come_back_to_one_moment(
    pg: Server, ws: Workspace, params: Params, settings: Settings
) -> None:
    write(pg, ws, 1)
    made = backup(params, ws, settings)
    assert made["verified"] and made["bytes"] > 20_000_000
    write(pg, ws, 2)
    backup(params, ws, settings, quick=True)
    first = now()
    write(pg, ws, 3)
    backup(params, ws, settings, quick=True)
    write(pg, ws, 4)  # after the last snapshot: at most as old as the pause between two of them
    pg.ask("DROP TABLE t")
    with pytest.raises(BadInput, match=r"PostgreSQL: accepts connections, .*\(stop it first\)"):
        restore(params, ws, settings, REPLACE)
    pg.stop()
    shutil.rmtree(ws.root)
    with pytest.raises(BadInput, match=f"{pg.data}: is not empty .restore with --replace"):
        restore(params, ws, settings, Request())
    assert not ws.root.exists()
    result = restore(params, ws, settings, REPLACE)
    assert both(pg, ws) == ("1,2,3", "3")
    (old,) = [Path(one) for one in result["replaced"]]
    assert old.parent == pg.data.parent and (old / "PG_VERSION").exists()
    assert "recovery" not in (pg.data / "postgresql.auto.conf").read_text()  # or it would hold for the next one too

    # The history that the restore began is archived and backed up as well, and the one before is still there.
    write(pg, ws, 5)
    backup(params, ws, settings, quick=True)
    second = now()
    write(pg, ws, 6)
    pg.archived()
    pg.stop()
    shutil.rmtree(ws.root)
    restore(params, ws, settings, Request(at=first, replace=True))
    assert both(pg, ws) == ("1,2", "2")
    pg.stop()
    restore(params, ws, settings, Request(at=second, replace=True))
    assert both(pg, ws) == ("1,2,3,5", "5")
    pg.stop()
    restore(params, ws, settings, Request(at=second, only=Only.postgres, replace=True))
    assert both(pg, ws) == ("1,2,3,5", "5")


def test_a_damaged_backup_of_postgres_is_named_and_nothing_is_lost(
    pg: Server, ws: Workspace, params: Params, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pg, ws, 1)
    backup(params, ws, settings)
    write(pg, ws, 2)
    backup(params, ws, settings)
    monkeypatch.setenv("PGBACKREST_JOB_RETRY", "0")  # else it tries for 15 s
    newest = Cluster("snn-fusion").info().sets[-1]
    damage(pg.repo / "backup" / "snn-fusion" / newest.label / "bundle" / "1")
    with pytest.raises(Damaged, match=rf"repository 1: backup: {newest.label}, status: invalid"):
        Cluster("snn-fusion").verify(Cluster("snn-fusion").info())
    pg.stop()
    result = restore(params, ws, settings, REPLACE)
    assert both(pg, ws) == ("1,2", "2")  # the earlier backup and the log lead there too
    (said,) = result["damaged"]
    assert newest.label in said and said.endswith("the one before is taken")
    assert not result["postgres"].startswith(newest.label)


def test_a_damaged_log_is_named_and_the_newest_backup_before_it_is_taken(
    pg: Server, ws: Workspace, params: Params, settings: Settings
) -> None:
    write(pg, ws, 1)
    backup(params, ws, settings)
    write(pg, ws, 2)
    backup(params, ws, settings, quick=True)
    write(pg, ws, 3)
    segment = pg.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    for number in (4, 5, 6):
        backup(params, ws, settings, quick=True)
        write(pg, ws, number)
    (file,) = pg.repo.rglob(f"{segment}-*")
    damage(file)
    pg.stop()
    with pytest.raises(SnnFusionError, match="the log is damaged there; name an earlier moment with --at"):
        restore(
            params, ws, settings, Request(only=Only.postgres, replace=True)
        )  # and not less than all, without a word
    assert both(pg, ws) == ("1,2,3,4,5,6", "6")  # what was there is still there
    pg.stop()
    result = restore(params, ws, settings, REPLACE)
    assert both(pg, ws) == ("1,2", "2")
    (said,) = result["damaged"]  # the two between, which need it as well, are not tried
    assert file.name in said and said.endswith("the one before is taken")


def test_what_cannot_be_used_is_refused_with_the_remedy(
    pg: Server, ws: Workspace, params: Params, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pg, ws, 1)
    backup(params, ws, settings, quick=True)
    cipher = pg.folder / "cipher" / "cipher.conf"
    right = cipher.read_text()
    cipher.write_text(right.replace(PASSWORD, "another-password-9876"))
    with pytest.raises(BadInput, match=r"repository 1: cannot be read: .*that the cipher's password is the one it was"):
        backup(params, ws, settings)
    cipher.write_text(right)
    monkeypatch.setattr(Cluster, "version", lambda self: "16")
    with pytest.raises(BadInput, match=r"holds backups of PostgreSQL 15, and the server is 16 .*stanza-upgrade"):
        backup(params, ws, settings)
    pg.stop("immediate")
    monkeypatch.undo()
    for name, value in pg.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SNN_FUSION_HOME", str(ws.root))
    with pytest.raises(BadInput, match=r"PostgreSQL at 127.0.0.1: cannot be asked: .*start it, and see PGHOST"):
        backup(params, ws, settings, quick=True)
    (pg.data / "postmaster.pid").write_text("1\n")
    with pytest.raises(BadInput, match=r"postmaster.pid: a server uses this data directory, or was killed"):
        restore(params, ws, settings, REPLACE)
    (pg.data / "postmaster.pid").unlink()
    monkeypatch.setenv("PGBACKREST_CONFIG", str(pg.folder / "none.conf"))
    with pytest.raises(BadInput, match=r"none.conf: no such file .name pgBackRest's configuration in"):
        restore(params, ws, settings, REPLACE)


def test_a_backup_needs_no_superuser(pg: Server) -> None:
    assert pg.ask("SELECT rolsuper FROM pg_roles WHERE rolname = 'backup'") == "f"
    assert "pg1-user=backup" in (BACKUP / "pgbackrest.conf").read_text()
    with pytest.raises(AssertionError, match="permission denied"):
        pg.run("psql", "-XqAt", "-d", "postgres", "-c", "SELECT count(*) FROM t")  # nor can it read
