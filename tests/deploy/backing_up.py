"""A small installation to back up, with a champion, and a really running PostgreSQL that archives its log."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.config import Params, load_params
from snn_fusion.data.recording import SENSES
from snn_fusion.data.synthetic import generate
from snn_fusion.registry.promote import promote
from snn_fusion.registry.register import register
from snn_fusion.workspace import Workspace
from tests.registry.conftest import put_data, put_evaluation, put_network

ROOT = Path(__file__).resolve().parents[2]
BACKUP = ROOT / "docker" / "backup"
POSTGRES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "kept-in-a-safe-0123"


def small_params() -> Params:
    """Ten long steps and few neurons."""
    whole = load_params(ROOT / "params.yaml")
    encoding = whole.encoding.model_copy(update={"steps": 10, "step_ms": 100.0, "taps": [0, 2]})
    network = whole.network.model_copy(update={"branch": dict.fromkeys(SENSES, 12), "joint": 9})
    return whole.model_copy(update={"encoding": encoding, "network": network})


def install(ws: Workspace, params: Params, scratch: Path, per_label: int = 2) -> None:
    """Recordings, a network that answers to them, and its promotion, in `ws` or on the server that is set."""
    generate(scratch / "takes", seed=0, recordings_per_label=per_label)
    put_data(ws, scratch / "takes")
    put_network(ws, params)
    put_evaluation(ws)
    register(params, ws)
    assert promote(params, ws)["promoted"]


def missing(*programs: str) -> str | None:
    """Why tests that need these programs are skipped; None if they are all there."""
    gone = [name for name in programs if shutil.which(name) is None]
    if "postgres" in gone and (POSTGRES / "postgres").exists():
        gone.remove("postgres")
    return f"not installed: {', '.join(gone)}" if gone else None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A cluster in a folder of its own; `env` is what backs it up and restores it."""

    folder: Path
    port: int
    user: dict[str, Any]

    @property
    def data(self) -> Path:
        return self.folder / "volume" / "15"

    @property
    def repo(self) -> Path:
        return self.folder / "backups" / "postgres"

    @property
    def env(self) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "backup",
            "PGPASSFILE": str(self.folder / "pgpass"),
            "PGBACKREST_CONFIG": str(self.folder / "pgbackrest.conf"),
            "PGBACKREST_CONFIG_INCLUDE_PATH": str(self.folder / "cipher"),
            "PGBACKREST_PG1_PORT": str(self.port),
            "SNN_FUSION_BACKUP_STANZA": "snn-fusion",
        }

    def run(self, *command: object) -> str:
        """As the cluster's user."""
        env = os.environ | self.env
        words = [str(part) for part in command]
        done = subprocess.run(words, env=env, capture_output=True, text=True, cwd="/", timeout=120, **self.user)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def ask(self, query: str, database: str = "postgres") -> str:
        """As the superuser, over the socket."""
        where = ("-h", self.folder / "socket", "-p", self.port, "-U", "postgres")
        return self.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *where, "-d", database, "-c", query)

    def start(self) -> None:
        self.run(POSTGRES / "pg_ctl", "-D", self.data, "-w", "-s", "-l", self.folder / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        if (self.data / "postmaster.pid").exists():
            self.run(POSTGRES / "pg_ctl", "-D", self.data, "-w", "-s", "-m", mode, "stop")

    def archived(self) -> None:
        """Wait until all that was written is in the archive."""
        segment = self.ask("SELECT pg_walfile_name(pg_switch_wal())")
        until = time.monotonic() + 30
        while self.ask("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")[:24] < segment:
            assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)


@contextmanager
def server() -> Iterator[Server]:
    """A running cluster with roles `backup` and `mlflow`, configured as the containers are."""
    folder = Path(tempfile.mkdtemp(prefix="snn-pg-", dir="/tmp"))
    folder.chmod(0o755)
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    made = Server(folder, free_port(), user)
    try:
        for name in ("volume", "backups", "socket", "cipher", "lock"):
            (folder / name).mkdir()
        _configure(made)
        if user:
            shutil.chown(folder, "postgres", "postgres")
            for path in folder.rglob("*"):
                shutil.chown(path, "postgres", "postgres")
        made.run(POSTGRES / "initdb", "-D", made.data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        with (made.data / "postgresql.conf").open("a") as file:
            file.write(_settings(made))
        made.start()
        role = (BACKUP / "role.sql").read_text()
        (folder / "role.sql").write_text(role)
        where = ("-h", folder / "socket", "-p", made.port, "-U", "postgres")
        made.run(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *where, "-v", "password=pw-of-backup", "-f", folder / "role.sql"
        )
        made.ask("CREATE ROLE mlflow LOGIN PASSWORD 'pw-of-mlflow'")
        made.ask("CREATE DATABASE mlflow OWNER mlflow")
        (made.data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
        made.ask("SELECT pg_reload_conf()")
        yield made
    finally:
        made.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _configure(made: Server) -> None:
    """The containers' own configuration, with other places."""
    text = (BACKUP / "pgbackrest.conf").read_text()
    for name, path in {"/backups/postgres": made.repo, "/var/lib/postgresql/data/15": made.data}.items():
        assert name in text
        text = text.replace(name, str(path))
    (made.folder / "pgbackrest.conf").write_text(text.replace("/tmp/pgbackrest", str(made.folder / "lock")))
    (made.folder / "cipher" / "cipher.conf").write_text(f"[global]\nrepo1-cipher-pass={PASSWORD}\n")
    pgpass = made.folder / "pgpass"
    pgpass.write_text(f"127.0.0.1:{made.port}:*:backup:pw-of-backup\n127.0.0.1:{made.port}:*:mlflow:pw-of-mlflow\n")
    pgpass.chmod(0o600)


def _settings(made: Server) -> str:
    push = (
        f"PGBACKREST_CONFIG={made.folder}/pgbackrest.conf PGBACKREST_CONFIG_INCLUDE_PATH={made.folder}/cipher "
        "pgbackrest --stanza=snn-fusion archive-push %p"
    )
    named = {
        "listen_addresses": "127.0.0.1",
        "port": made.port,
        "unix_socket_directories": made.folder / "socket",
        "archive_mode": "on",
        "archive_command": push,
        "archive_timeout": 60,
        "password_encryption": "scram-sha-256",
        "fsync": "off",
        "max_connections": 30,
    }
    return "".join(f"{name} = '{value}'\n" for name, value in named.items())
