"""What the last `push` sent, and to which remote: a push that would send the same again ends without starting DVC.

Only for a remote that is a folder of this machine, since only there it can be seen at once that nothing is missing.
"""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from snn_fusion.registry.snapshot import PARTS, copies, pointer
from snn_fusion.registry.tracking import artifact_root, database, on_server
from snn_fusion.workspace import STAMP, Workspace, code_digest, digest, file_digest, write_atomic

NOTE = ("dvc", "pushed.json")
# Folders with a result of `Workspace.build`; those of the chips have one for each.
STAGES = ("recordings", "validated", "encoded", "trained", "evaluated", "left_out", "registered", "compared")
CHIPS = ("tuned", "compiled", "measured")


def last(ws: Workspace, project: Path, model: str) -> dict[str, Any] | None:
    """The result of the last push, if it sent what lies here now and the remote still has all of it."""
    path, remote = ws.path(*NOTE), _remote(project)
    if remote is None or not path.exists():
        return None
    note = json.loads(path.read_text())
    newest = remote / pointer(model)
    if not newest.exists() or file_digest(newest) != note["pointer"] or _count(remote) < note["files"]:
        return None
    return dict(note["result"]) if note["sent"] == _state(ws, project) else None


def note(ws: Workspace, project: Path, model: str, result: dict[str, Any]) -> None:
    """Keep what this push sent; called when all of it is in the remote."""
    if (remote := _remote(project)) is None:
        ws.path(*NOTE).unlink(missing_ok=True)
        return
    content = {
        "sent": _state(ws, project),
        "pointer": file_digest(remote / pointer(model)),
        "files": _count(remote),
        "result": result,
    }
    write_atomic(ws.path(*NOTE), json.dumps(content, indent=1))


def _state(ws: Workspace, project: Path) -> str:
    """Digest of all that `push` sends, and of where to."""
    stamps = [ws.path(stage, STAMP) for stage in STAGES]
    stamps += sorted(path for stage in CHIPS for path in ws.path(stage).glob(f"*/{STAMP}"))
    files = [*stamps, *(path for path in sorted(project.iterdir()) if path.is_file() and path.name != "dvc.lock")]
    files += [project / "requirements.lock", project / ".dvc" / "config"]
    sent = {str(path): file_digest(path) for path in files if path.exists()}
    registry = [ws.path(part) for part in (*PARTS, *copies(ws.root))]
    if not on_server():
        sent["database"] = file_digest(database(ws))
        registry.append(artifact_root(ws))
    return digest(sent, code_digest("."), [_listing(part) for part in registry])


def _listing(path: Path) -> list[tuple[str, int, int]]:
    """Every file of a folder, or the file: path, size and time of its last change."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    known = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in known]


def _remote(project: Path) -> Path | None:
    """The folder that is the project's remote; None where it is not one of this machine."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(project / ".dvc" / "config")
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    return Path(url) if url and not urlparse(url).scheme else None


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
