"""A restored PostgreSQL cluster, started for this process only: it recovers up to the moment that was asked for."""

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
UNREADABLE = r"ERROR: \[\d+\]: unable to get"  # pgBackRest's, of a segment of the log that exists
STOP_S = 120.0
# What pgBackRest wrote for the recovery; left there, it would apply to the next one too.
SETTINGS = (
    *("restore_command", "recovery_target_name", "recovery_target_time", "recovery_target_action"),
    *("recovery_target_timeline", "archive_mode"),
)


def programs(version: str) -> Path:
    """The folder with the programs of this major version of PostgreSQL. Raises BadInput if it is not installed."""
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if (debian / "postgres").exists():
        return debian
    if program := shutil.which("postgres"):
        numbers = re.findall(r"\d+", run([program, "--version"]).out)
        if numbers and numbers[0] == version:
            return Path(program).parent
    problem = f"the backups are of PostgreSQL {version}, which is not installed here"
    raise BadInput("PostgreSQL", problem, f"apt-get install postgresql-{version}, or use the image of that version")


@contextlib.contextmanager
def recovered(
    data: Path, version: str, owner: User, archive: str | None = None, to_the_end: bool = False
) -> Iterator[Path]:
    """Start the cluster in `data` and wait until it has recovered; the folder of its socket, which asks no password.

    `archive`: the command that archives its log from then on; None: it is not archived. `to_the_end`: recover to the
    end of the archived log, not to a moment. The cluster is stopped on exit. Raises Damaged if it cannot recover.
    """
    base = Path(tempfile.mkdtemp(prefix="snn-recovery-"))
    base.chmod(0o711)
    owner.make_folder(folder := base / "s")
    log = folder / "log"
    (folder / "hba").write_text("local all all trust\n")
    settings = {
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
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    try:
        with log.open("w") as output:
            command = [str(programs(version) / "postgres"), "-D", str(data), *options]
            process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, **owner.options()
            )
        try:
            _wait(process, folder, log)
            if to_the_end and re.search(UNREADABLE, log.read_text(errors="replace")):
                raise damage(log.read_text(errors="replace"))  # PostgreSQL takes it for the end of the log
            _forget_recovery(folder)
            yield folder
        finally:
            _stop(process)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def ask(folder: Path, query: str, database: str = "postgres") -> str | None:
    """The cluster's answer to its superuser; None if it does not answer."""
    done = run(["psql", "-XqAt", "-h", str(folder), "-p", "5432", "-U", "postgres", "-d", database, "-c", query])
    return None if done.code else done.out.strip()


def _wait(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    until = time.monotonic() + RECOVERY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise damage(log.read_text(errors="replace"))
        if ask(folder, "SELECT pg_is_in_recovery()") == "f":
            return
        time.sleep(0.2)
    raise SnnFusionError(f"PostgreSQL has not recovered after {RECOVERY_S:.0f} s")


def damage(log: str) -> Damaged:
    """Why a cluster did not recover, from its log, and how far it came."""
    reached = re.findall(r"redo done at ([0-9A-F]+/[0-9A-F]+)", log)
    fatal = re.findall(r"(?:FATAL|PANIC): +(?!the database system is)(.*)", log)  # those are answers to our questions
    archive = re.findall(r"ERROR: \[\d+\]: (.*)\n\s*(repo.*)?", log)
    messages = [" ".join(filter(None, message)) for message in archive[-1:]] + fatal[-1:]
    return Damaged("PostgreSQL's log: " + ("; ".join(messages) or log.strip()[-300:]), reached[-1] if reached else None)


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
