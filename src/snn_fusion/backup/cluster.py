"""A PostgreSQL cluster that pgBackRest backs up: written for pgBackRest 2.45, of Debian 12.

Which cluster, which repositories and which cipher is in pgBackRest's own configuration (PGBACKREST_CONFIG), how the
server is reached in libpq's variables (PGHOST, PGUSER, PGPASSFILE).
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

from snn_fusion.backup.tools import Damaged, Done, User, run
from snn_fusion.errors import BadInput, SnnFusionError

CONFIG = "PGBACKREST_CONFIG"
FULL_EVERY = timedelta(days=7)  # between, what has changed since the last full one
ARCHIVED_S = 60.0  # that a segment of the log may take into the archive
MISSING_STANZA, NO_BACKUP = 1, 2  # pgBackRest's codes of a repository


@dataclass(frozen=True)
class Set:
    """One of pgBackRest's backups: in which repository, its label, full or not; when and where in which history of the
    log it ended; bytes that a restore takes.
    """

    repo: int
    label: str
    full: bool
    stop: datetime
    lsn: str
    timeline: int
    bytes: int


@dataclass(frozen=True)
class Point:
    """A named moment in PostgreSQL's log, its place there, and on which of the histories that a restore begins."""

    name: str
    lsn: str
    timeline: int


@dataclass(frozen=True)
class Known:
    """What pgBackRest knows: repositories with their state, PostgreSQL's version, its name of the archive and the
    newest history in it, and the backups, oldest first.
    """

    repos: dict[int, int]
    version: str | None
    archive: str
    timeline: int
    sets: tuple[Set, ...]


@dataclass(frozen=True)
class Cluster:
    stanza: str

    @property
    def data(self) -> Path:
        """The cluster's data directory, as pgBackRest's configuration names it. Raises BadInput."""
        if named := os.environ.get("PGBACKREST_PG1_PATH"):
            return Path(named)
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
        """Whom the data directory belongs to: as that user PostgreSQL and pgBackRest run. Raises BadInput for root."""
        there = next(path for path in (self.data, *self.data.parents) if path.exists()).stat()
        if os.geteuid() == 0 and there.st_uid == 0:
            problem = "belongs to root, as whom PostgreSQL refuses to run"
            raise BadInput(self.data, problem, "make the folder, and chown it to the user that PostgreSQL runs as")
        return User(there.st_uid, there.st_gid)

    def known(self) -> Known:
        """Raises BadInput if a repository cannot be read, with the wrong password for instance."""
        done = self._pgbackrest("info", "--output=json", limit_s=120)
        if done.code:
            raise BadInput(f"pgBackRest's stanza {self.stanza}", done.why, f"mend the file that {CONFIG} names")
        told = json.loads(done.out, strict=False)  # it quotes what it cannot decipher
        (found,) = told or [{"repo": [], "db": [], "backup": []}]
        repos = {one["key"]: one["status"] for one in found["repo"]}
        for key, status in repos.items():
            if status["code"] not in (0, MISSING_STANZA, NO_BACKUP):
                problem = " ".join(status["message"].split())[:200]
                remedy = "check its path, and that the cipher's password is the one it was made with"
                raise BadInput(f"pgBackRest's repository {key}", f"cannot be read: {problem}", remedy)
        version = found["db"][-1]["version"] if found["db"] else None
        sets = sorted((_set(one) for one in found["backup"] if not one["error"]), key=lambda one: (one.stop, -one.repo))
        archive = found["archive"][-1] if found.get("archive") else {}
        timeline = int((archive.get("max") or "00000001")[:8], 16)
        codes = {key: status["code"] for key, status in repos.items()}
        return Known(codes, version, archive.get("id", ""), timeline, tuple(sets))

    def accepts(self) -> bool:
        """Whether a server answers, be it only that it is starting."""
        return run(["pg_isready", "-q"], limit_s=30).code in (0, 1)

    def version(self) -> str:
        """The running server's major version. Raises BadInput if it cannot be asked."""
        return str(int(self._ask("SHOW server_version_num")[0]) // 10000)

    def checked(self) -> Known:
        """Raises BadInput if the server cannot be asked, or the repositories hold backups of another version."""
        version, known = self.version(), self.known()
        if known.version and known.version != version:
            problem = f"holds backups of PostgreSQL {known.version}, and the server is {version}"
            remedy = f"after an upgrade: pgbackrest --stanza={self.stanza} stanza-upgrade"
            raise BadInput(f"pgBackRest's stanza {self.stanza}", problem, remedy)
        return known

    def prepared(self, known: Known) -> Known:
        """Make the repositories that are new. Raises BadInput."""
        if MISSING_STANZA in known.repos.values() or not known.repos:
            done = self._pgbackrest("stanza-create", limit_s=300)
            if done.code:
                remedy = "mount it, or mend its path; it has to be writable for the users of both containers"
                raise BadInput(f"pgBackRest's stanza {self.stanza}", f"cannot be made: {done.why}", remedy)
            known = self.known()
        return known

    def backup(self, known: Known, now: datetime) -> None:
        """A backup into each repository; removes what is older than is kept. Raises SnnFusionError."""
        for key in known.repos:
            done = self._pgbackrest("backup", f"--repo={key}", f"--type={kind(known, key, now)}")
            if done.code:
                raise SnnFusionError(f"pgbackrest backup, repository {key}: {done.why}")

    def verify(self, known: Known) -> None:
        """Read all backups and archived logs back. Raises Damaged naming what is wrong with which."""
        for key in known.repos:
            done = self._pgbackrest("verify", f"--repo={key}", "--output=text", "--verbose")
            if done.code:
                raise SnnFusionError(f"pgbackrest verify, repository {key}: {done.why}")
            if "status: ok" not in done.out:  # it ends with 0 all the same
                raise Damaged(f"pgBackRest's repository {key}: {_invalid(done.out)}")

    def point(self, name: str) -> Point:
        """Name this moment, and wait until the log up to it is archived. Raises SnnFusionError if that fails."""
        lsn = self._ask(f"SELECT pg_create_restore_point('{name}')")[0]
        segment = self._ask("SELECT pg_walfile_name(pg_switch_wal())")[0]
        timeline = int(segment[:8], 16)
        until = time.monotonic() + ARCHIVED_S
        while time.monotonic() < until:
            archived, why = self._ask("SELECT last_archived_wal, last_failed_wal FROM pg_stat_archiver")
            if archived and archived[:24] >= segment:
                return Point(name, lsn, timeline)
            time.sleep(0.1)
        failed = f"; it fails at {why}" if why else ""
        raise SnnFusionError(f"PostgreSQL did not archive {segment} within {ARCHIVED_S:.0f} s{failed}: see its log")

    def usable(self, known: Known, moment: datetime, timeline: int) -> list[Set]:
        """The backups from which a moment of this history can be reached, the newest first.

        A restore begins a new history, which leaves the earlier one somewhere: a backup from after that does not lead
        there.
        """
        left: dict[int, str] = {timeline: ""}
        if timeline > 1:
            file = f"archive/{self.stanza}/{known.archive}/{timeline:08X}.history"
            done = self._pgbackrest("repo-get", file, limit_s=300)
            left |= {int(number): lsn for number, lsn in re.findall(r"(?m)^(\d+)\t([0-9A-F]+/[0-9A-F]+)", done.out)}
        return [one for one in reversed(known.sets) if one.stop <= moment and _leads_to(one, timeline, left)]

    def restore(self, one: Set, target: Path, options: Sequence[str], archive: bool) -> None:
        """Bring a backup back into the empty folder `target`, which recovers as `options` say when it is started.

        Raises Damaged if it cannot be read whole.
        """
        mode = "preserve" if archive else "off"
        where = (f"--repo={one.repo}", f"--set={one.label}", f"--pg1-path={target}")
        done = self._pgbackrest("restore", *where, f"--archive-mode={mode}", *options)
        if "No space left on device" in done.err + done.out:
            raise BadInput(target, "no space left on device", "free some space; nothing has been changed")
        if done.code:
            raise Damaged(f"PostgreSQL's backup {one.label} in repository {one.repo}: {done.why}")

    def _ask(self, query: str) -> list[str]:
        """The columns of the first row. Raises BadInput if the server does not answer."""
        done = run(["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", query], limit_s=120)
        if done.code:
            where = f"PostgreSQL at {os.environ.get('PGHOST', 'the local socket')}"
            raise BadInput(where, f"cannot be asked: {done.why}", "start it, and see PGHOST, PGUSER and PGPASSFILE")
        return done.out.rstrip("\n").split("\t")

    def _pgbackrest(self, *command: str, limit_s: float = 6 * 3600) -> Done:
        return run(["pgbackrest", f"--stanza={self.stanza}", *command], limit_s=limit_s, user=self.owner)


def kind(known: Known, repo: int, now: datetime) -> str:
    """A full backup once a week, and between what has changed since it: no backup then rests on another of those."""
    full = [one.stop for one in known.sets if one.repo == repo and one.full]
    return "diff" if full and now - max(full) < FULL_EVERY else "full"


def place_of(lsn: str | None) -> tuple[int, int]:
    """A place in PostgreSQL's log, to be compared."""
    high, _, low = (lsn or "0/0").partition("/")
    return int(high, 16), int(low, 16)


def _leads_to(one: Set, timeline: int, left: Mapping[int, str]) -> bool:
    if one.timeline == timeline:
        return True
    return one.timeline in left and place_of(one.lsn) <= place_of(left[one.timeline])


def _set(one: dict[str, Any]) -> Set:
    stop = datetime.fromtimestamp(one["timestamp"]["stop"], UTC)
    where = one["lsn"]["stop"], int(one["archive"]["start"][:8], 16)
    return Set(one["database"]["repo-key"], one["label"], one["type"] == "full", stop, *where, one["info"]["size"])


def _invalid(text: str) -> str:
    """The lines of pgBackRest's report that are not fine."""
    lines = [line.strip() for line in text.splitlines()]
    bad = [f"{line} {after}" for line, after in zip(lines, [*lines[1:], ""], strict=True) if _is_bad(line)]
    return "; ".join(bad)[:600] or " ".join(lines)[:600]


def _is_bad(line: str) -> bool:
    wal = re.search(r"total WAL checked: (\d+), total valid WAL: (\d+)", line)
    return ("status: invalid" in line) or (wal is not None and wal[1] != wal[2])
