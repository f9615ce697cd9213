"""Where backups go and how long they are kept, from environment variables, which docs/backup.md lists.

Each may be given as `..._FILE` instead: the path of a file that holds the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from snn_fusion.errors import BadInput
from snn_fusion.log_lines import without_password
from snn_fusion.value_files import read_value

PREFIX = "SNN_FUSION_BACKUP_"
NAMES = ("PLACE", "SECOND", "KEEP_DAYS", "STANZA", "ARTEFACTS", "CONFIGURATION", "EVERY_S", "DAILY", "BY")
PASSWORD_FILE = f"{PREFIX}PASSWORD_FILE"
RESTIC_PASSWORD_FILE = "RESTIC_PASSWORD_FILE"
IN_THE_OPEN = ("RESTIC_PASSWORD", "RESTIC_PASSWORD_COMMAND", f"{PREFIX}PASSWORD")


class Only(StrEnum):
    """What is restored, where not all is."""

    workspace = "workspace"
    postgres = "postgres"


@dataclass(frozen=True)
class Settings:
    """`place` and `second` are restic repositories: a folder, or what restic takes (`sftp:...`, `s3:...`).

    `stanza`: pgBackRest's name of the PostgreSQL cluster, empty where there is none. `artefacts`: the folder of an
    MLflow server's artefacts. `configuration`: files and folders that are restored beside, never over, what is there.
    `every_s`, `daily`: when a container makes a snapshot, and a whole backup (UTC). `by`: who does the restore drill.
    """

    place: str = ""
    second: str = ""
    password: Path | None = None  # None: nobody named a file
    keep_days: int = 30
    stanza: str = ""
    artefacts: Path | None = None
    configuration: tuple[Path, ...] = ()
    every_s: int = 240
    daily: str = "01:00"
    by: str = ""

    @classmethod
    def from_environment(cls, place: str | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """`place` stands in for SNN_FUSION_BACKUP_PLACE. Raises BadInput naming the variable."""
        for name in IN_THE_OPEN:
            if environment.get(name):
                remedy = f"write it to a file of mode 600, and name that in {PASSWORD_FILE}"
                raise BadInput(name, "a password in the environment can be read where containers are listed", remedy)
        values = _values(environment)
        password = environment.get(PASSWORD_FILE) or environment.get(RESTIC_PASSWORD_FILE)
        return cls(
            place=_place("--to, --from", place) if place else _place(f"{PREFIX}PLACE", values.get("PLACE", "")),
            second=_place(f"{PREFIX}SECOND", values.get("SECOND", "")),
            password=Path(password).expanduser() if password else None,
            keep_days=_whole("KEEP_DAYS", values.get("KEEP_DAYS", "30"), least=1),
            stanza=values.get("STANZA", ""),
            artefacts=Path(values["ARTEFACTS"]) if values.get("ARTEFACTS") else None,
            configuration=tuple(Path(path) for path in values.get("CONFIGURATION", "").split(os.pathsep) if path),
            every_s=_whole("EVERY_S", values.get("EVERY_S", "240"), least=60),
            daily=_time(values.get("DAILY", "01:00")),
            by=_by(values.get("BY", "")),
        )


def is_folder(place: str) -> bool:
    """Whether a place is a folder of this machine."""
    return not re.match(r"[a-z0-9]+:", place)


def _values(environment: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, text in environment.items():
        if not key.startswith(PREFIX) or key == PASSWORD_FILE or not text:
            continue
        name = key.removeprefix(PREFIX)
        short = name.removesuffix("_FILE")
        if short not in NAMES:
            known = ", ".join(f"{PREFIX}{known}" for known in NAMES)
            raise BadInput(key, "is not known", f"there are: {known}, each also as ..._FILE, and {PASSWORD_FILE}")
        if name != short:
            if environment.get(f"{PREFIX}{short}"):
                raise BadInput(key, f"is set, and {PREFIX}{short} too", "set one of them")
            text = read_value(key, text)
        elif without_password(text) != text:
            remedy = f"write it to a file of mode 600, and name that in {key}_FILE"
            raise BadInput(key, "holds a password, which can be read where containers are listed", remedy)
        values[short] = text
    return values


def _place(name: str, text: str) -> str:
    if not text or not is_folder(text):
        return text
    path = Path(text).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise BadInput(name, f"{path} is a file", "name a folder")
    return str(path)


def _whole(name: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise BadInput(f"{PREFIX}{name}", f"is {text[:40]!r}", f"a whole number, {least} or more")
    return int(text)


def _time(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise BadInput(f"{PREFIX}DAILY", f"is {text[:40]!r}", "a time of day in UTC, as 01:00")
    return text


def _by(text: str) -> str:
    if text not in ("", "container"):
        raise BadInput(f"{PREFIX}BY", f"is {text[:40]!r}", "container, or leave it out")
    return text
