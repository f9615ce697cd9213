"""What there is at this moment: services, champion, last retraining, alerts, backups, disk. Read, never changed."""

from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from snn_fusion.backup import state as backup_state
from snn_fusion.config import Params
from snn_fusion.deploy.engine import Stack, condition
from snn_fusion.deploy.stack import started
from snn_fusion.errors import SnnFusionError
from snn_fusion.log_lines import without_password
from snn_fusion.operate.stack_checks import ask_worker
from snn_fusion.registry import ledger
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.tracking import database, on_server, tracking_uri
from snn_fusion.registry.versions import CHALLENGER, CHAMPION
from snn_fusion.watch.registered import read_registry
from snn_fusion.workspace import STAMP, Workspace, git_commit, nearest_existing

GB = 10**9
STAGES = ("imported", "validated", "encoded", "trained", "evaluated", "compared")


def status(params: Params, ws: Workspace) -> dict[str, dict[str, Any]]:
    """By part, what is known of it; `problem` says why a part cannot be read."""
    running = cache(started)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "installation": lambda: installation(ws),
        "services": lambda: services(running()),
        "registry": lambda: registry(params, ws),
        "retraining": lambda: retraining(ws),
        "alerts": lambda: alerts(running()),
        "backups": lambda: backups(ws),
        "disk": lambda: disk(ws),
    }
    found = {name: _read(part) for name, part in parts.items()}
    told = _read(lambda: inside(running()))
    return found | ({"stack": told} if "problem" in told else told)


def inside(running: Stack | None) -> dict[str, Any]:
    """The parts that the stack's workspace is asked for instead, in the container that runs the stages."""
    if running is None or "pipeline" not in running.profiles:
        return {}
    told = ask_worker(running, "status")
    return {name: told[name] for name in ("registry", "retraining", "backups", "disk")}


def _read(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return part()
    except (SnnFusionError, OSError, ValueError, KeyError) as error:
        return {"problem": str(error).splitlines()[0]}


def installation(ws: Workspace) -> dict[str, Any]:
    return {
        "version": version("snn-fusion"),
        "commit": (git_commit() or "unknown")[:12],
        "python": platform.python_version(),
        "workspace": str(ws.root),
        "tracking": without_password(tracking_uri(ws)),
    }


def services(running: Stack | None) -> dict[str, str]:
    """The stack's containers: state, health, image."""
    if running is None:
        return {"stack": "none was started here (snn-fusion up)"}
    found = running.containers()
    if not found:
        return {"stack": "stopped (snn-fusion up)"}
    return {name: f"{condition(name, one):<10} {one['Image']}" for name, one in sorted(found.items())}


def registry(params: Params, ws: Workspace) -> dict[str, Any]:
    if not on_server() and not database(ws).exists():
        return {"registry": "none yet (snn-fusion retrain)"}
    found = read_registry(ws, params.registry.model)
    shown: dict[str, Any] = {"versions": len(found.versions)}
    for role in (CHAMPION, CHALLENGER):
        if one := found.roles.get(role):
            shown[role] = f"{one}, accuracy {one.tags.get('accuracy', 'unknown')}"
        else:
            shown[role] = "none"
    if (path := ws.path(RECORD)).exists() and (entries := list(ledger.read(path))):
        last = entries[-1].body
        verdict = "promoted" if last["promoted"] else "refused"
        shown["last decision"] = f"version {last['version']} {verdict}, {_ago(datetime.fromisoformat(last['time']))}"
    return shown


def retraining(ws: Workspace) -> dict[str, str]:
    """When each stage last changed its results; a stage with nothing to do leaves them as they are."""
    shown = {}
    for stage in STAGES:
        if (stamp := ws.path(stage, STAMP)).exists():
            shown[stage] = _ago(datetime.fromtimestamp(stamp.stat().st_mtime, UTC))
    return shown or {"retraining": "never (snn-fusion retrain)"}


def alerts(running: Stack | None) -> dict[str, Any]:
    """What Prometheus in the stack says is firing or about to."""
    if running is None or "monitoring" not in running.profiles:
        return {"alerts": "nobody watches (snn-fusion up --profile monitoring)"}
    question = ("curl", "-fsS", "--max-time", "5", "http://127.0.0.1:9090/api/v1/alerts")
    said = json.loads(running.run("exec", "-T", "prometheus", *question))
    shown = Counter(
        (one["state"], one["labels"]["alertname"], one["labels"].get("severity", "")) for one in said["data"]["alerts"]
    )
    return {name: f"{state}, {severity}, {n} of it" for (state, name, severity), n in shown.items()} or {"firing": "0"}


def backups(ws: Workspace) -> dict[str, str]:
    return dict(_backups(backup_state.read(ws))) or {"backups": "none (docs/backup.md)"}


def _backups(noted: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for what, one in noted.items():
        verdict = "good" if one["ok"] else f"failed: {one.get('error', '')}"
        yield what, f"{verdict}, {_ago(datetime.fromisoformat(one['at']))}"


def disk(ws: Workspace) -> dict[str, str]:
    place = nearest_existing(ws.root)
    usage = shutil.disk_usage(place)
    return {str(place): f"{usage.free / GB:.0f} GB free of {usage.total / GB:.0f}"}


def _ago(moment: datetime) -> str:
    """With the age first, since that is what an operator looks for."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number > 1 else ''} ago ({moment:%Y-%m-%d %H:%M} UTC)"
    return f"just now ({moment:%Y-%m-%d %H:%M} UTC)"
