"""A PostgreSQL cluster that pgBackRest backs up: written for pgBackRest 2.45, of Debian 12.

pgBackRest's own configuration (PGBACKREST_CONFIG) names the cluster, the repositories and the cipher; libpq's variables
(PGHOST, PGUSER, PGPASSFILE) say how to reach the server.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from snn_fusion.backup.tools import Completed, Damaged, User, run
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import nearest_existing

CONFIG = "PGBACKREST_CONFIG"
FULL_EVERY = timedelta(days=7)  # in between, only what has changed since the last full backup
ARCHIVED_S = 60.0  # time that a segment of the log may take into the archive
MISSING_STANZA, NO_BACKUP = 1, 2  # pgBackRest's status codes of a repository


@dataclass(frozen=True)
class BackupSet:
    """One of pgBackRest's backups: its repository and label, whether it is full, when and where in the log it ended,
    on which timeline, and the bytes that a restore takes.
    """

    repo: int
    label: str
    full: bool
    stop: datetime
    lsn: str
    timeline: int
    bytes: int


@dataclass(frozen=True)
class RestorePoint:
    """A named moment in PostgreSQL's log, its position there, and its timeline (a restore begins a new one)."""

    name: str
    lsn: str
    timeline: int


@dataclass(frozen=True)
class StanzaInfo:
    """What `pgbackrest info` says: status codes of the repositories, PostgreSQL's version, the archive's id and newest
    timeline, and the backups, oldest first.
    """

    repos: dict[int, int]
    version: str | None
    archive: str
    timeline: int
    sets: tuple[BackupSet, ...]


@dataclass(frozen=True)
class Cluster:
    stanza: str

    @property
    def data(self) -> Path:
        """The cluster's data directory, as pgBackRest's configuration names it. Raises BadInput."""
        if path := os.environ.get("PGBACKREST_PG1_PATH"):
            return Path(path)
        file = Path(os.environ.get(CONFIG, "/etc/pgbackrest/pgbackrest.conf"))
        config = configparser.ConfigParser(interpolation=None, strict=False)
        if not config.read(file):
            raise BadInput(file, "no such file", f"name pgBackRest's configuration in {CONFIG}")
        path = config.get(self.stanza, "pg1-path", fallback=None)
        if path is None:
            raise BadInput(file, f"the section [{self.stanza}] has no pg1-path", "see docker/backup/pgbackrest.conf")
        return Path(path)

    @property
    def owner(self) -> User:
        """The user who owns the data directory, and runs PostgreSQL and pgBackRest. Raises BadInput for root."""
        status = nearest_existing(self.data).stat()
        if os.geteuid() == 0 and status.st_uid == 0:
            problem = "belongs to root, as whom PostgreSQL refuses to run"
            raise BadInput(self.data, problem, "make the folder, and chown it to the user that PostgreSQL runs as")
        return User(status.st_uid, status.st_gid)

    def info(self) -> StanzaInfo:
        """Raises BadInput if a repository cannot be read, for instance because of a wrong password."""
        done = self._pgbackrest("info", "--output=json", limit_s=120)
        if done.code:
            raise BadInput(f"pgBackRest's stanza {self.stanza}", done.message, f"correct the file that {CONFIG} names")
        stanzas = json.loads(done.out, strict=False)  # it quotes what it cannot decipher
        (stanza,) = stanzas or [{"repo": [], "db": [], "backup": []}]
        for repo in stanza["repo"]:
            if repo["status"]["code"] not in (0, MISSING_STANZA, NO_BACKUP):
                problem = " ".join(repo["status"]["message"].split())[:200]
                remedy = "check its path, and that the cipher's password is the one it was made with"
                raise BadInput(f"pgBackRest's repository {repo['key']}", f"cannot be read: {problem}", remedy)
        sets = [_backup_set(entry) for entry in stanza["backup"] if not entry["error"]]
        archive = stanza["archive"][-1] if stanza.get("archive") else {}
        return StanzaInfo(
            {repo["key"]: repo["status"]["code"] for repo in stanza["repo"]},
            stanza["db"][-1]["version"] if stanza["db"] else None,
            archive.get("id", ""),
            int((archive.get("max") or "00000001")[:8], 16),
            tuple(sorted(sets, key=lambda backup_set: (backup_set.stop, -backup_set.repo))),
        )

    def is_accepting(self) -> bool:
        """Whether a server answers, even if only that it is starting."""
        return run(["pg_isready", "-q"], limit_s=30).code in (0, 1)

    def version(self) -> str:
        """The running server's major version. Raises BadInput if it cannot be asked."""
        return str(int(self._ask("SHOW server_version_num")[0]) // 10000)

    def checked_info(self) -> StanzaInfo:
        """Raises BadInput if the server cannot be asked, or the repositories hold backups of another version."""
        version, info = self.version(), self.info()
        if info.version and info.version != version:
            problem = f"holds backups of PostgreSQL {info.version}, and the server is {version}"
            remedy = f"after an upgrade: pgbackrest --stanza={self.stanza} stanza-upgrade"
            raise BadInput(f"pgBackRest's stanza {self.stanza}", problem, remedy)
        return info

    def create_repositories(self, info: StanzaInfo) -> StanzaInfo:
        """Create the repositories that are missing. Raises BadInput."""
        if info.repos and MISSING_STANZA not in info.repos.values():
            return info
        done = self._pgbackrest("stanza-create", limit_s=300)
        if done.code:
            remedy = "mount it, or correct its path; the users of both containers have to be able to write to it"
            raise BadInput(f"pgBackRest's stanza {self.stanza}", f"cannot be created: {done.message}", remedy)
        return self.info()

    def backup(self, info: StanzaInfo, now: datetime) -> None:
        """Back up into each repository; pgBackRest removes what is too old. Raises SnnFusionError."""
        for repo in info.repos:
            done = self._pgbackrest("backup", f"--repo={repo}", f"--type={backup_type(info, repo, now)}")
            if done.code:
                raise SnnFusionError(f"pgbackrest backup, repository {repo}: {done.message}")

    def verify(self, info: StanzaInfo) -> None:
        """Read all backups and archived segments back. Raises Damaged naming what is wrong with which."""
        for repo in info.repos:
            done = self._pgbackrest("verify", f"--repo={repo}", "--output=text", "--verbose")
            if done.code:
                raise SnnFusionError(f"pgbackrest verify, repository {repo}: {done.message}")
            if "status: ok" not in done.out:  # it exits with 0 all the same
                raise Damaged(f"pgBackRest's repository {repo}: {_invalid_lines(done.out)}")

    def create_restore_point(self, name: str) -> RestorePoint:
        """Name this moment, and wait until the log up to it is archived. Raises SnnFusionError if that fails."""
        lsn = self._ask(f"SELECT pg_create_restore_point('{name}')")[0]
        segment = self._ask("SELECT pg_walfile_name(pg_switch_wal())")[0]
        until = time.monotonic() + ARCHIVED_S
        while time.monotonic() < until:
            archived, failing = self._ask("SELECT last_archived_wal, last_failed_wal FROM pg_stat_archiver")
            if archived and archived[:24] >= segment:
                return RestorePoint(name, lsn, timeline=int(segment[:8], 16))
            time.sleep(0.1)
        where = f"; it fails at {failing}" if failing else ""
        raise SnnFusionError(f"PostgreSQL did not archive {segment} within {ARCHIVED_S:.0f} s{where}: see its log")

    def sets_leading_to(self, info: StanzaInfo, moment: datetime, timeline: int) -> list[BackupSet]:
        """The backups from which a moment on this timeline can be reached, the newest first.

        A restore begins a new timeline, which branches off from the earlier one; a backup made on the earlier one after
        that position does not lead there.
        """
        branched_at: dict[int, str] = {}
        if timeline > 1:
            file = f"archive/{self.stanza}/{info.archive}/{timeline:08X}.history"
            done = self._pgbackrest("repo-get", file, limit_s=300)
            lines = re.findall(r"(?m)^(\d+)\t([0-9A-F]+/[0-9A-F]+)", done.out)
            branched_at = {int(earlier): lsn for earlier, lsn in lines}
        return [
            backup_set
            for backup_set in reversed(info.sets)
            if backup_set.stop <= moment and _leads_to(backup_set, timeline, branched_at)
        ]

    def restore(self, backup_set: BackupSet, target: Path, options: Sequence[str], archive: bool) -> None:
        """Restore a backup into the empty folder `target`; the server that is started there recovers as `options` say.

        Raises Damaged if it cannot be read whole, BadInput if the disk is full.
        """
        mode = "preserve" if archive else "off"
        where = (f"--repo={backup_set.repo}", f"--set={backup_set.label}", f"--pg1-path={target}")
        done = self._pgbackrest("restore", *where, f"--archive-mode={mode}", *options)
        if "No space left on device" in done.err + done.out:
            raise BadInput(target, "no space left on device", "free some space; nothing has been changed")
        if done.code:
            raise Damaged(f"PostgreSQL's backup {backup_set.label} in repository {backup_set.repo}: {done.message}")

    def _ask(self, query: str) -> list[str]:
        """The columns of the first row. Raises BadInput if the server does not answer."""
        done = run(["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", query], limit_s=120)
        if done.code:
            where = f"PostgreSQL at {os.environ.get('PGHOST', 'the local socket')}"
            raise BadInput(where, f"cannot be asked: {done.message}", "start it, and see PGHOST, PGUSER and PGPASSFILE")
        return done.out.rstrip("\n").split("\t")

    def _pgbackrest(self, *command: str, limit_s: float = 6 * 3600) -> Completed:
        return run(["pgbackrest", f"--stanza={self.stanza}", *command], limit_s=limit_s, user=self.owner)


def backup_type(info: StanzaInfo, repo: int, now: datetime) -> str:
    """Full once a week; in between differential, so that no backup depends on another differential one."""
    full = [backup_set.stop for backup_set in info.sets if backup_set.repo == repo and backup_set.full]
    return "diff" if full and now - max(full) < FULL_EVERY else "full"


def lsn_position(lsn: str | None) -> tuple[int, int]:
    """A position in PostgreSQL's log, as numbers that compare."""
    high, _, low = (lsn or "0/0").partition("/")
    return int(high, 16), int(low, 16)


def _leads_to(backup_set: BackupSet, timeline: int, branched_at: Mapping[int, str]) -> bool:
    if backup_set.timeline == timeline:
        return True
    end = branched_at.get(backup_set.timeline)
    return end is not None and lsn_position(backup_set.lsn) <= lsn_position(end)


def _backup_set(entry: dict[str, Any]) -> BackupSet:
    return BackupSet(
        repo=entry["database"]["repo-key"],
        label=entry["label"],
        full=entry["type"] == "full",
        stop=datetime.fromtimestamp(entry["timestamp"]["stop"], UTC),
        lsn=entry["lsn"]["stop"],
        timeline=int(entry["archive"]["start"][:8], 16),
        bytes=entry["info"]["size"],
    )


def _invalid_lines(report: str) -> str:
    """The lines of pgBackRest's report that name damage, each with the one after it."""
    lines = [line.strip() for line in report.splitlines()]
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    return "; ".join(f"{line} {after}" for line, after in pairs if _is_invalid(line))[:600] or " ".join(lines)[:600]


def _is_invalid(line: str) -> bool:
    wal = re.search(r"total WAL checked: (\d+), total valid WAL: (\d+)", line)
    return "status: invalid" in line or (wal is not None and wal[1] != wal[2])
