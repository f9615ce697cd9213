"""What must hold on the machine, or in the container, that runs the pipeline and the service."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from snn_fusion import control_group
from snn_fusion.backup import settings as backup_settings
from snn_fusion.backup import state as backup_state
from snn_fusion.config import load_params
from snn_fusion.errors import BadInput
from snn_fusion.log_lines import without_password
from snn_fusion.operate import migrations, variables
from snn_fusion.operate.checks import Check, NotApplicable
from snn_fusion.registry.tracking import connect, database, on_server, tracking_uri
from snn_fusion.serving.settings import Settings
from snn_fusion.workspace import Workspace, disk_errors, nearest_existing, project_root

GB = 10**9
DISK = 5 * GB  # a retraining of the demo writes 2 GB, and the registry grows with each version
MEMORY = 4 * GB  # of the largest stage of the demo, with a worker for each of two cores
FILES = 1024  # open files: a connection each, and what the libraries keep open
BACKUP_AGE, DRILL_AGE = timedelta(hours=26), timedelta(days=8)  # daily and weekly, with time to run


def installation_checks(ws: Workspace, params: Path) -> Iterator[Check]:
    """All of them, the quick ones first."""
    checks: dict[str, Callable[[], str]] = {
        "packages": packages,
        "parameters": partial(parameters, params),
        "variables": variables.check,
        "service settings": service_settings,
        "workspace": partial(workspace, ws),
        "disk": partial(disk, ws),
        "memory": memory,
        "open files": open_files,
        "backups": partial(backups, ws),
        "restore drill": partial(drill, ws),
        "registry": partial(registry, ws, params),
        "MLflow's schema": partial(mlflow_schema, ws),
        "Airflow's schema": partial(airflow_schema, ws),
    }
    for name, look in checks.items():
        yield Check("installation", name, look)


def packages() -> str:
    """Installed versions against requirements.lock."""
    from packaging.requirements import Requirement

    lock = project_root() / "requirements.lock"
    lines = [line.split(" \\")[0] for line in lock.read_text().splitlines() if line and not line.startswith((" ", "#"))]
    pinned = [Requirement(line) for line in lines if not line.startswith("-")]
    compared = 0
    for one in pinned:
        if one.marker and not one.marker.evaluate():
            continue
        try:
            installed = version(one.name)
        except PackageNotFoundError:  # an image has the packages of its own program only
            continue
        compared += 1
        if not one.specifier.contains(installed.partition("+")[0], prereleases=True):
            raise BadInput(lock, f"wants {one.name}{one.specifier}, installed is {installed}", "make setup")
    return f"{compared} installed, as in the lock"


def parameters(path: Path) -> str:
    load_params(path)
    return str(path)


def service_settings() -> str:
    from snn_fusion.serving.keys import read_keys

    settings = Settings.from_environment()
    if not settings.keys:
        return "no keys: the service is for this machine only"
    return f"{len(read_keys(Path(settings.keys)))} key(s) verify tokens"


def workspace(ws: Workspace) -> str:
    """Whether the workspace can be written, tried with a file."""
    with disk_errors(ws.root):
        ws.root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=ws.root, prefix=".doctor."):
            pass
    return f"{ws.root} can be written"


def disk(ws: Workspace) -> str:
    free = shutil.disk_usage(nearest_existing(ws.root)).free
    if free < DISK:
        remedy = "free some space, or point SNN_FUSION_HOME at another disk"
        raise BadInput(ws.root, f"{free / GB:.1f} GB free, {DISK / GB:.0f} needed", remedy)
    return f"{free / GB:.0f} GB free"


def memory() -> str:
    group = control_group.memory()
    total = group[1] if group else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total < MEMORY:
        where = "limit of this container" if group else "memory of this machine"
        raise BadInput(where, f"is {total / GB:.1f} GB, training needs {MEMORY / GB:.0f}", "raise it")
    return f"{total / GB:.0f} GB"


def open_files() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        raise BadInput("open files", f"the limit is {soft}, {FILES} are needed", f"ulimit -n {FILES}")
    return "no limit" if soft == resource.RLIM_INFINITY else f"{soft}"


def backups(ws: Workspace) -> str:
    """The last backup, where backups are set up or were ever made."""
    noted = backup_state.read(ws).get("backup")
    if not noted:
        if not backup_settings.Settings.from_environment().place:
            raise NotApplicable("none are set up: docs/backup.md")
        raise BadInput("backup", "was never made", "snn-fusion backup")
    return _recent("backup", noted, BACKUP_AGE, "verified")


def drill(ws: Workspace) -> str:
    noted = backup_state.read(ws).get("drill")
    if not noted:
        raise NotApplicable("was never made: snn-fusion drill")
    return _recent("drill", noted, DRILL_AGE, "ok")


def _recent(what: str, noted: dict[str, object], most: timedelta, also: str) -> str:
    """Raises BadInput if the last one failed, was not `also`, or is too long ago."""
    remedy = f"snn-fusion {what}; docs/backup.md"
    age = datetime.now(UTC) - datetime.fromisoformat(str(noted["at"]))
    if not noted["ok"] or not noted.get(also):
        raise BadInput(what, f"the last one, of {noted['at']}, failed: {noted.get('error') or f'not {also}'}", remedy)
    if age > most:
        raise BadInput(what, f"the last one is {age.total_seconds() / 3600:.0f} h old", remedy)
    return f"{age.total_seconds() / 3600:.1f} h ago"


def registry(ws: Workspace, params: Path) -> str:
    """Whether MLflow answers, and the champion is what was registered: all digests of the workspace's own store."""
    from snn_fusion.registry import sealed, versions

    if not on_server() and not database(ws).exists():
        raise NotApplicable("there is none yet: snn-fusion retrain")
    model, client = load_params(params).registry.model, connect(ws)
    sealed.check_registry(client, model, ws)
    champion = versions.by_alias(client, model, versions.CHAMPION)
    if champion is None:
        return f"{without_password(tracking_uri(ws))} answers; no champion yet"
    versions.graph_folder(champion, ws)  # compares its digest
    return f"{without_password(tracking_uri(ws))} answers; champion is {champion}, and whole"


def mlflow_schema(ws: Workspace) -> str:
    if on_server():
        raise NotApplicable("the server's own; it refuses to start with another")
    if not database(ws).exists():
        raise NotApplicable("there is no database yet")
    return migrations.check("mlflow", f"sqlite:///{database(ws)}")


def airflow_schema(ws: Workspace) -> str:
    own = ws.path("airflow", "airflow.db")
    url = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN") or (f"sqlite:///{own}" if own.exists() else "")
    if not url:
        raise NotApplicable("there is no database yet")
    return migrations.check("airflow", url)
