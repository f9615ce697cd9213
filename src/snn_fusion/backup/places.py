"""Where backups go: checked before anything is written, and remembered, so that a disk that is missing is noticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from snn_fusion.backup.password import create_on_first_use, password_file
from snn_fusion.backup.restic import Repository, Snapshot
from snn_fusion.backup.settings import PREFIX, Settings, is_folder
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, print_waiting, write_atomic

ELSEWHERE = f"name a folder on another disk: --to DIR, or {PREFIX}PLACE"


@dataclass(frozen=True)
class Place:
    """A repository that backups go to; its id, None if it does not exist yet; the newest backup in it."""

    repository: Repository
    identity: str | None
    newest: Snapshot | None


def inspect_places(ws: Workspace, settings: Settings) -> list[Place]:
    """The first place and, where there is one, the second. Nothing is written to them.

    Raises BadInput if no place is named, one lies in the workspace, is gone or holds another workspace's backups, or if
    the password is missing, weak or wrong.
    """
    if not settings.place:
        raise BadInput(f"{PREFIX}PLACE", "no place for backups is named", "snn-fusion backup --to DIR, or set it")
    names = [name for name in (settings.place, settings.second) if name]
    for name in names:
        _check_outside(ws, settings, name)
    if created := create_on_first_use(settings):
        print_waiting(
            f"made a password: {created}\n"
            "Keep a copy of it somewhere else, now. Without it nobody can read the backups."
        )
    password = password_file(settings)
    return [_inspect(ws, Repository(name, password, ws.path("cache", "restic"))) for name in names]


def open_repositories(ws: Workspace, inspected: Sequence[Place]) -> list[Repository]:
    """The repositories of these places, created where there were none. Raises BadInput if one cannot be created."""
    repositories: list[Repository] = []
    for place in inspected:
        repository = place.repository
        if place.identity is None:
            repository.create(repositories[0] if repositories else None)
        identity = place.identity or repository.identity()
        if _known(ws).get(str(repository)) != identity:
            write_atomic(_file(ws), json.dumps(_known(ws) | {str(repository): identity}, indent=1))
        if not is_folder(repository.place) or any(Path(repository.place, "locks").iterdir()):
            repository.unlock()
        repositories.append(repository)
    return repositories


def reachable_repositories(ws: Workspace, settings: Settings) -> list[Repository]:
    """The repositories to restore from: those that can be reached. Raises BadInput if none can."""
    password, reachable, problems = password_file(settings), [], list[BadInput]()
    for place in filter(None, (settings.place, settings.second)):
        repository = Repository(place, password, ws.path("cache", "restic"))
        try:
            if repository.identity() is None:
                reason = f"holds no backups, or cannot be reached: {repository.why_missing()}"
                raise BadInput(repository, reason, "name the right place")
        except BadInput as error:
            problems.append(error)
        else:
            reachable.append(repository)
    if not reachable:
        raise problems[0] if problems else BadInput(f"{PREFIX}PLACE", "no place is named", "restore --from PLACE")
    for problem in problems:
        print_waiting(f"left out: {problem}")
    return reachable


def _inspect(ws: Workspace, repository: Repository) -> Place:
    before, now = _known(ws).get(str(repository)), repository.identity()
    if now is None and before:
        remedy = f"mount or restore it; to begin anew, remove {_file(ws)}"
        raise BadInput(repository, f"the backups that were here are gone (repository {before[:8]})", remedy)
    if now and before and now != before:
        remedy = f"mount the right one; to use this one from now on, remove {_file(ws)}"
        raise BadInput(repository, f"is another repository ({now[:8]}) than before ({before[:8]})", remedy)
    if now is None and is_folder(repository.place):
        _check_can_be_created(Path(repository.place))
    return Place(repository, now, _newest(ws, repository) if now else None)


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
            raise BadInput(place, problem, ELSEWHERE)


def _check_can_be_created(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(folder, "is neither empty nor a repository of restic", "name an empty or a new folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise BadInput(folder, f"there is no folder {folder.parent}", "mount the disk, or make the folder")


def _newest(ws: Workspace, repository: Repository) -> Snapshot | None:
    """A place holds the backups of one workspace: with several, what is kept for 30 days would be a mixture."""
    snapshots, _ = repository.snapshots()
    if not snapshots:
        return None
    owner = unquote(snapshots[-1].tag("root") or "")
    if owner != str(ws.root) and Path(owner).exists():
        raise BadInput(repository, f"holds the backups of {owner}", "name a place of its own for each workspace")
    return snapshots[-1]
