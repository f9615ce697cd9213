"""A restic repository: encrypted, deduplicated snapshots of files. Written for restic 0.14, of Debian 12."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from snn_fusion.backup.settings import is_folder
from snn_fusion.backup.tools import Completed, Damaged, run
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.log_lines import without_password

TAG, HOST = "snn-fusion", "snn-fusion"
PROBE_S = 60.0  # time that a place may take for its first answer
FULL = "no space left on device|disk quota exceeded"
INCOMPLETE = 3  # exit code: a snapshot was made, but something could not be read


@dataclass(frozen=True)
class Snapshot:
    """One backup: when it was begun, and its tags, of which some are `name:value`."""

    id: str
    time: datetime
    tags: tuple[str, ...]

    def tag(self, name: str) -> str | None:
        return next((tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{name}:")), None)

    @property
    def whole(self) -> bool:
        """Whether it is part of a whole backup, not a snapshot between two of them."""
        return "whole" in self.tags

    def __str__(self) -> str:
        return f"{self.id[:8]} of {self.time.isoformat(timespec='seconds')}"


@dataclass(frozen=True)
class NewSnapshot:
    """A snapshot that was just taken: its bytes, those of them that were new, and the files that could not be read."""

    id: str
    bytes: int
    added: int
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Repository:
    """`place` as restic names it; `cache`: where restic keeps indices of a place that is not a folder."""

    place: str
    password: Path
    cache: Path

    def __str__(self) -> str:
        return without_password(self.place)

    def identity(self) -> str | None:
        """The repository's id; None if there is none. Raises BadInput for a wrong password."""
        if is_folder(self.place) and not Path(self.place, "config").exists():
            return None
        done = self._probe("cat", "config")
        return None if done.code else str(json.loads(done.out)["id"])

    def why_missing(self) -> str:
        """What restic says where there is no repository."""
        return f"{self.place} has no file config" if is_folder(self.place) else self._probe("cat", "config").message

    def create(self, like: Repository | None = None) -> None:
        """A new repository; it cuts files into the same pieces as `like`, so that copies take no more room.

        Raises BadInput.
        """
        options = ["--copy-chunker-params"] if like else []
        done = self._probe("init", *options, env=_copied_from(like) if like else {})
        if done.code:
            remedy = "mount it, start its server, or name another place"
            raise BadInput(self, f"cannot be reached or written to: {without_password(done.message)}", remedy)

    def take_snapshot(
        self, paths: Sequence[Path], excluded: Sequence[str], tags: Sequence[str], parent: str | None
    ) -> NewSnapshot:
        """Back these folders up, without what matches restic's patterns `excluded`. Raises SnnFusionError.

        What has not changed since the snapshot `parent` is not read. It is named because restic's own search for it
        ends at a damaged one.
        """
        options = [f"--tag={tag}" for tag in (TAG, *tags)] + [f"--exclude={pattern}" for pattern in excluded]
        options.append(f"--parent={parent}" if parent else "--force")
        done = self._run("backup", "--json", f"--host={HOST}", *options, *(str(path) for path in paths))
        messages = [_parsed(line) for line in (done.out + done.err).splitlines()]
        summary = next((message for message in messages if message.get("message_type") == "summary"), None)
        if done.code not in (0, INCOMPLETE) or summary is None:
            raise self._failed("backup", done)
        unread = {str(message.get("item", "")) for message in messages if message.get("message_type") == "error"}
        sizes = int(summary["total_bytes_processed"]), int(summary["data_added"])
        return NewSnapshot(str(summary["snapshot_id"]), *sizes, tuple(sorted(unread)))

    def snapshots(self) -> tuple[list[Snapshot], list[str]]:
        """Snapshots, oldest first, and what restic says of those that it cannot read. Raises Damaged."""
        done = self._run("snapshots", "--json", "--no-lock", f"--tag={TAG}")
        if done.code:
            raise Damaged(f"{self}: {without_password(done.message)}")
        snapshots = [
            Snapshot(entry["id"], datetime.fromisoformat(_microseconds(entry["time"])), tuple(entry["tags"]))
            for entry in json.loads(done.out) or []
        ]
        unreadable = [line for line in done.err.splitlines() if "could not load" in line]
        return sorted(snapshots, key=lambda snapshot: snapshot.time), unreadable

    def content(self, snapshot: Snapshot, path: str) -> str:
        """One file of a snapshot. Raises Damaged."""
        done = self._run("dump", "--no-lock", snapshot.id, path)
        if done.code:
            raise Damaged(f"{snapshot} in {self}: {done.message}")
        return done.out

    def restore(self, snapshot: Snapshot, target: Path, include: Iterable[str] = (), skip: Iterable[str] = ()) -> None:
        """Write files below `target`, at their absolute paths. Raises Damaged naming what cannot be read."""
        options = [f"--include={literal(path)}" for path in include] + [f"--exclude={literal(path)}" for path in skip]
        done = self._run("restore", "--no-lock", snapshot.id, f"--target={target}", *options)
        if done.code:
            if full := re.search(FULL, done.err):
                raise BadInput(target, full[0], "free some space; nothing has been changed")
            raise Damaged(f"{snapshot} in {self}: {_first_errors(done)}")

    def verify(self, part: int | None, parts: int) -> None:
        """Check the structure, and read part number `part` of `parts` of the data back (None: all). Raises Damaged."""
        subset = "--read-data" if part is None else f"--read-data-subset={part}/{parts}"
        done = self._run("check", subset)
        if done.code:
            raise Damaged(f"{self}: {_first_errors(done)}")

    def prune(self, days: int) -> None:
        """Keep all snapshots of the last day and the last one of each of `days` days; remove the others."""
        policy = (f"--keep-daily={days}", "--keep-within=1d")
        done = self._run("forget", f"--tag={TAG}", "--group-by=", *policy, "--prune")
        if done.code:
            raise self._failed("forget", done)

    def forget(self, snapshot: str) -> None:
        """Remove one snapshot; the next `prune` removes its data."""
        if (done := self._run("forget", snapshot)).code:
            raise self._failed("forget", done)

    def copy_from(self, source: Repository) -> None:
        """Copy every snapshot that `source` has and this repository lacks."""
        if (done := self._run("copy", f"--tag={TAG}", env=_copied_from(source))).code:
            raise self._failed("copy", done)

    def unlock(self) -> None:
        """Remove locks of processes that are gone."""
        self._run("unlock")

    def size_on_disk(self) -> int | None:
        """Bytes on the disk; None where the place is not a folder."""
        if not is_folder(self.place):
            return None
        return sum(path.stat().st_size for path in Path(self.place).rglob("*") if path.is_file())

    def _probe(self, *command: str, env: Mapping[str, str] | None = None) -> Completed:
        try:
            done = self._run(*command, env=env, limit_s=PROBE_S)
        except SnnFusionError as error:
            raise BadInput(self, str(error), "mount it, start its server, or name another place") from None
        if "wrong password or no key found" in done.err:
            remedy = "name the file with the password that these backups were made with"
            raise BadInput(self.password, f"is not the password of {self}", remedy)
        return done

    def _run(self, *command: str, env: Mapping[str, str] | None = None, limit_s: float = 6 * 3600) -> Completed:
        # In the environment, so that a place with a password is not in a command line.
        environment = {"RESTIC_REPOSITORY": self.place, "RESTIC_PASSWORD_FILE": str(self.password)}
        cache = ["--no-cache"] if is_folder(self.place) else [f"--cache-dir={self.cache}"]
        return run(["restic", *cache, *command], {**environment, **(env or {})}, limit_s)

    def _failed(self, what: str, done: Completed) -> SnnFusionError:
        if full := re.search(FULL, done.err):
            return BadInput(self, full[0], "free some space there, or name another place; earlier backups are kept")
        return SnnFusionError(f"restic {what}: {self}: {without_password(done.message)}")


def literal(path: str | os.PathLike[str]) -> str:
    """A path as a pattern of restic that matches only itself."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", str(path))


def _copied_from(source: Repository) -> dict[str, str]:
    return {"RESTIC_FROM_REPOSITORY": source.place, "RESTIC_FROM_PASSWORD_FILE": str(source.password)}


def _parsed(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _microseconds(time: str) -> str:
    """restic writes nanoseconds, of which Python reads six digits."""
    return re.sub(r"(\.\d{6})\d+", r"\1", time)


def _first_errors(done: Completed) -> str:
    """What restic says is wrong, without the errors that follow from it."""
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    causes = [
        line.removeprefix("ignoring error for ") for line in lines if not line.startswith(("Load(", "Fatal: There"))
    ]
    return without_password("; ".join(causes[:3])[:600]) or done.message
