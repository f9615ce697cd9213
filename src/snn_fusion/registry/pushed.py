"""What the last `push` sent, and to which remote: a push that would send the same again ends without starting DVC.

Only for a remote that is a folder of this machine, since only there it can be seen at once that nothing is missing.
"""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from snn_fusion.registry.snapshot import PARTS, copies, pointer
from snn_fusion.registry.tracking import artifact_root, database, on_server
from snn_fusion.workspace import STAMP, Workspace, code_digest, digest, file_digest, listing, write_atomic

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
    if not newest.exists() or file_digest(newest) != note["pointer"]:
        return None
    there = _files(remote)
    if any(there.get(name) != size for name, size in note["files"].items()):
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
        "files": _files(remote),
        "result": result,
    }
    write_atomic(ws.path(*NOTE), json.dumps(content))


def _state(ws: Workspace, project: Path) -> str:
    """Digest of all that `push` sends, and of where to."""
    stamps = [ws.path(stage, STAMP) for stage in STAGES]
    stamps += sorted(path for stage in CHIPS for path in ws.path(stage).glob(f"*/{STAMP}"))
    files = [*stamps, *(path for path in sorted(project.iterdir()) if path.is_file() and path.name != "dvc.lock")]
    files += [project / "requirements.lock", project / ".dvc" / "config"]
    registry = [ws.path(part) for part in (*PARTS, *copies(ws.root))]
    if not on_server():
        files.append(database(ws))
        registry.append(artifact_root(ws))
    sent = {str(path): file_digest(path) for path in files if path.exists()}
    return digest(sent, code_digest("."), listing(*registry))


def _remote(project: Path) -> Path | None:
    """The folder that is the project's remote; None where it is not one of this machine."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(project / ".dvc" / "config")
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    return Path(url) if url and not urlparse(url).scheme else None


def _files(remote: Path) -> dict[str, int]:
    """Every file of the remote, with its size."""
    return {name.removeprefix(f"{remote}/"): size for name, size, _ in listing(remote)}
