"""Where backups go: looked at before anything is written, and remembered, so that a missing disk is noticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from snn_fusion.backup.password import made_on_first_use, password_file
from snn_fusion.backup.restic import Repository, Snapshot
from snn_fusion.backup.settings import PREFIX, Settings, is_folder
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, print_waiting, write_atomic

ELSEWHERE = "name a folder on another disk: --to DIR, or {}PLACE"


@dataclass(frozen=True)
class Place:
    """A repository that backups go to, whether it is there already, and the newest backup in it."""

    repository: Repository
    identity: str | None
    newest: Snapshot | None


def looked_at(ws: Workspace, settings: Settings) -> list[Place]:
    """Where to back up to, the first place and its second, as they are.

    Raises BadInput if a place is not named, lies in the workspace, is gone, or holds another workspace's backups, and
    for a missing, weak or wrong password.
    """
    if not settings.place:
        raise BadInput(f"{PREFIX}PLACE", "no place for backups is named", "snn-fusion backup --to DIR, or set it")
    named = [name for name in (settings.place, settings.second) if name]
    for name in named:
        _check_outside(ws, settings, name)
    if made := made_on_first_use(settings):
        print_waiting(
            f"made a password: {made}\nKeep a copy of it somewhere else, now. Without it nobody can read the backups."
        )
    password = password_file(settings)
    return [_look(ws, Repository(name, password, ws.path("cache", "restic"))) for name in named]


def opened(ws: Workspace, looked: Sequence[Place]) -> list[Repository]:
    """The repositories of these places, made where there were none. Raises BadInput if one cannot be."""
    found: list[Repository] = []
    for place in looked:
        one = place.repository
        if place.identity is None:
            one.make(found[0] if found else None)
            write_atomic(_file(ws), json.dumps(_known(ws) | {str(one): one.identity()}, indent=1))
        elif _known(ws).get(str(one)) != place.identity:
            write_atomic(_file(ws), json.dumps(_known(ws) | {str(one): place.identity}, indent=1))
        if not is_folder(one.place) or any(Path(one.place, "locks").iterdir()):
            one.unlock()
        found.append(one)
    return found


def to_restore_from(ws: Workspace, settings: Settings) -> list[Repository]:
    """The repositories to restore from: those that can be reached. Raises BadInput if none can."""
    password, found, problems = password_file(settings), [], list[BadInput]()
    for place in filter(None, (settings.place, settings.second)):
        one = Repository(place, password, ws.path("cache", "restic"))
        try:
            if one.identity() is None:
                raise BadInput(one, f"holds no backups, or cannot be reached: {one.why_not()}", "name the right place")
        except BadInput as error:
            problems.append(error)
        else:
            found.append(one)
    if not found:
        raise problems[0] if problems else BadInput(f"{PREFIX}PLACE", "no place is named", "restore --from PLACE")
    for problem in problems:
        print_waiting(f"left out: {problem}")
    return found


def _look(ws: Workspace, one: Repository) -> Place:
    before, now = _known(ws).get(str(one)), one.identity()
    if now is None and before:
        remedy = f"mount or restore it; to begin anew, remove {_file(ws)}"
        raise BadInput(one, f"the backups that were here are gone (repository {before[:8]})", remedy)
    if now and before and now != before:
        remedy = f"mount the right one; to use this one from now on, remove {_file(ws)}"
        raise BadInput(one, f"is another repository ({now[:8]}) than before ({before[:8]})", remedy)
    if now is None and is_folder(one.place):
        _check_can_be_made(Path(one.place))
    return Place(one, now, _newest(ws, one) if now else None)


def _file(ws: Workspace) -> Path:
    return ws.path("backups", "places.json")


def _known(ws: Workspace) -> dict[str, str]:
    """The repositories that were used before, by their place."""
    return dict(json.loads(_file(ws).read_text())) if _file(ws).exists() else {}


def _check_outside(ws: Workspace, settings: Settings, place: str) -> None:
    if not is_folder(place):
        return
    for folder in filter(None, (ws.root, settings.artefacts)):
        if Path(place).resolve().is_relative_to(folder.resolve()):
            problem = f"lies in {folder}, and would be lost with it"
            raise BadInput(place, problem, ELSEWHERE.format(PREFIX))


def _check_can_be_made(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(folder, "is neither empty nor a repository of restic", "name an empty or a new folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise BadInput(folder, f"there is no folder {folder.parent}", "mount the disk, or make the folder")


def _newest(ws: Workspace, one: Repository) -> Snapshot | None:
    """A place holds the backups of one workspace: with others', what is kept for 30 days would be a mixture."""
    found, _ = one.snapshots()
    if not found:
        return None
    other = unquote(found[-1].tag("root") or "")
    if other != str(ws.root) and Path(other).exists():
        raise BadInput(one, f"holds the backups of {other}", "name a place of its own for each workspace")
    return found[-1]
