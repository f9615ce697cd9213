"""backups/state.json in the workspace: how the last backup, snapshot and restore drill went, for the exporter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snn_fusion.workspace import Workspace, write_atomic


def path(ws: Workspace) -> Path:
    return ws.path("backups", "state.json")


def read(ws: Workspace) -> dict[str, Any]:
    """All that was noted; empty where there is no file, or a damaged one."""
    try:
        state = json.loads(path(ws).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def note(ws: Workspace, what: str, ok: bool, error: str = "", **facts: object) -> None:
    """Note how a `backup`, `snapshot` or `drill` ended; the notes of the others stay."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    state = read(ws) | {what: {"at": at, "ok": ok, **facts, "error": error}}
    write_atomic(path(ws), json.dumps(state, indent=1))


def when(ws: Workspace, what: str) -> datetime | None:
    """When this was last noted."""
    try:
        return datetime.fromisoformat(read(ws)[what]["at"])
    except (KeyError, TypeError, ValueError):
        return None
