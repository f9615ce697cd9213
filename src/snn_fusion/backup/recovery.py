"""A restored PostgreSQL cluster, started for nobody but us: it recovers up to the moment that was asked for."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from snn_fusion.backup.tools import Damaged, User, run
from snn_fusion.errors import BadInput, SnnFusionError

RECOVERY_S = 3600.0
UNREADABLE = r"ERROR: \[\d+\]: unable to get"  # pgBackRest's, of a part of the log that is there
STOP_S = 120.0
# What pgBackRest wrote for the recovery; left there, it would hold for the next one too.
SETTINGS = (
    *("restore_command", "recovery_target_name", "recovery_target_time", "recovery_target_action"),
    *("recovery_target_timeline", "archive_mode"),
)


def programs(version: str) -> Path:
    """The folder with the programs of this major version of PostgreSQL. Raises BadInput if it is not installed."""
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if (debian / "postgres").exists():
        return debian
    if found := shutil.which("postgres"):
        said = re.search(r"(\d+)", run([found, "--version"]).out.removeprefix("postgres"))
        if said and said[1] == version:
            return Path(found).parent
    problem = f"the backups are of PostgreSQL {version}, which is not installed here"
    raise BadInput("PostgreSQL", problem, f"apt-get install postgresql-{version}, or use the image of that version")


@contextlib.contextmanager
def recovered(
    data: Path, version: str, owner: User, archive: str | None = None, to_the_end: bool = False
) -> Iterator[Path]:
    """Start the cluster in `data` and wait until it has recovered; the folder of its socket, with no password.

    `archive`: the command that keeps its log from then on; None: nothing of it is kept. `to_the_end`: of the archived
    log, not to a moment. It is stopped at the end. Raises Damaged if it cannot recover.
    """
    base = Path(tempfile.mkdtemp(prefix="snn-recovery-"))
    base.chmod(0o711)
    owner.make(folder := base / "s")
    log = folder / "log"
    (folder / "hba").write_text("local all all trust\n")
    named = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "hba_file": str(folder / "hba"),
        "port": "5432",
        "hot_standby": "off",  # else it refuses to recover with fewer connections than the server had
        "ssl": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "shared_preload_libraries": "",
        "archive_mode": "on" if archive else "off",
        "archive_command": archive or "",
    }
    options = [part for name, value in named.items() for part in ("-c", f"{name}={value}")]
    try:
        with log.open("w") as output:
            command = [str(programs(version) / "postgres"), "-D", str(data), *options]
            process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, **owner.options()
            )
        try:
            _wait(process, folder, log)
            if to_the_end and re.search(UNREADABLE, log.read_text(errors="replace")):
                raise failed(log.read_text(errors="replace"))  # PostgreSQL takes it for the end
            _forget_recovery(folder)
            yield folder
        finally:
            _stop(process)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def ask(folder: Path, query: str, database: str = "postgres") -> str | None:
    """What the cluster answers, as its superuser; None if it does not."""
    done = run(["psql", "-XqAt", "-h", str(folder), "-p", "5432", "-U", "postgres", "-d", database, "-c", query])
    return None if done.code else done.out.strip()


def _wait(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    until = time.monotonic() + RECOVERY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise failed(log.read_text(errors="replace"))
        if ask(folder, "SELECT pg_is_in_recovery()") == "f":
            return
        time.sleep(0.2)
    raise SnnFusionError(f"PostgreSQL has not recovered after {RECOVERY_S:.0f} s")


def failed(log: str) -> Damaged:
    """Why a cluster did not recover, from its log, and how far it came."""
    reached = re.findall(r"redo done at ([0-9A-F]+/[0-9A-F]+)", log)
    why = re.findall(r"(?:FATAL|PANIC): +(?!the database system is)(.*)", log)  # those are answers to our questions
    archive = re.findall(r"ERROR: \[\d+\]: (.*)\n\s*(repo.*)?", log)
    said = [" ".join(part for part in one if part) for one in archive[-1:]] + why[-1:]
    return Damaged("PostgreSQL's log: " + ("; ".join(said) or log.strip()[-300:]), reached[-1] if reached else None)


def _forget_recovery(folder: Path) -> None:
    for name in SETTINGS:
        ask(folder, f"ALTER SYSTEM RESET {name}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)  # a fast shutdown, which archives what is left of the log
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()
