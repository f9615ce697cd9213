"""`snn-fusion serve`: the service in a process of its own, checked before it starts, and ended with this one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import versions
from snn_fusion.registry.processes import ALONE, running
from snn_fusion.registry.tracking import connect
from snn_fusion.serving import loopback
from snn_fusion.serving.compiled import compiled
from snn_fusion.serving.guard import configured
from snn_fusion.serving.listener import bound
from snn_fusion.serving.log_file import rotating
from snn_fusion.serving.packaged import check, is_package
from snn_fusion.serving.settings import PREFIX, Settings, folder_of
from snn_fusion.workspace import PACKAGE, Workspace, check_seal

PARENT = "snn_fusion.serving.parent"
GRAPH = ("graph.nir", "graph.json", "weights.safetensors")  # network.graph.FILES, which would import torch first
START_S = 120.0
END_S = 40.0  # what is in flight gets so long, a body that arrives slowly among it
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a service that listens everywhere is asked


def serve(ws: Workspace, settings: Settings, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM, which let what is in flight end.

    Raises BadInput if a model does not exist, does not fit, a file of keys cannot be used, the port is taken, or `host`
    can be reached from outside and no keys are set; SnnFusionError if the service ends by itself.
    """
    configured(settings)
    if not settings.keys:
        loopback.check_hosts([host])
    check_free(host, port)
    quick = all(folder_of(name) for name in (settings.model, settings.challenger) if name)
    what = check_models(ws, settings) if quick else ""
    log, url = ws.path("logs", f"serve-{port}.log"), f"http://{_bracketed(host)}:{port}"
    command = [sys.executable, *ALONE, "-m", PARENT, "--host", host, "--port", str(port), "--with", str(os.getpid())]
    env, console = environment(ws, settings), Console()
    with rotating(log) as output, contextlib.suppress(KeyboardInterrupt), running(command, env, output) as process:
        try:
            with console.status("starting"):
                what = what or check_models(ws, settings)  # MLflow's import takes seconds, in which the service starts
                _until_ready(f"http://{_bracketed(ANY.get(host, host))}:{port}", process, log)
            for line in (f"serving {what} as {settings.arithmetic} on {url}", f"log {log}; Ctrl-C ends it"):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            process.wait()
        except KeyboardInterrupt:
            console.print("stopping")
            _end(process)
            raise
        raise _ended(process, log)


def environment(ws: Workspace, settings: Settings) -> dict[str, str]:
    """The settings as the service reads them. Secrets stand here and not in its command line, which all can read."""
    ours = {f"{PREFIX}{name.upper()}": str(getattr(settings, name)) for name in Settings.__dataclass_fields__}
    source = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    return {
        **os.environ,
        **ours,
        "SNN_FUSION_HOME": str(ws.root),
        "PYTHONPATH": source,
    }


def check_models(ws: Workspace, settings: Settings) -> str:
    """The model that the settings name, for people. Raises BadInput if it or the challenger cannot be served.

    Nothing is built here: the service itself does that, and this takes none of its time.
    """
    what = _check_model(ws, settings, settings.model, settings.arithmetic)
    if settings.challenger:
        try:
            _check_model(ws, settings, settings.challenger, "float")
        except BadInput as error:
            raise BadInput(f"{PREFIX}CHALLENGER: {error.where}", error.problem, error.remedy) from None
    return what


def _check_model(ws: Workspace, settings: Settings, name: str, arithmetic: str) -> str:
    """What `name` means. Raises BadInput if it does not exist, is damaged, or fits no artefact."""
    folder = folder_of(name)
    if folder is not None and is_package(folder):
        return f"version {check(folder)['version']}, packaged"
    version = None
    if folder is not None:
        what = str(folder)
    else:
        version = versions.find(connect(ws), settings.registered, name)
        folder, what = versions.graph_folder(version, ws), str(version)
    graph = check_seal(folder, GRAPH, "graph", "train", "restore the graph")
    if arithmetic != "float":
        compiled(ws, graph, arithmetic, version)
    return what


def check_free(host: str, port: int) -> None:
    """Raises BadInput if nothing can listen there."""
    try:
        bound(host, port).close()
    except BadInput as error:
        raise BadInput(error.where, error.problem, error.remedy.replace("--port", "snn-fusion serve --port")) from None


def _until_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise _ended(process, log)
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=2):
            return
        time.sleep(0.1)
    raise SnnFusionError(f"{url}: not ready after {START_S:.0f} s; see {log}")


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the service to end; `running` kills what stays."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)


def _ended(process: subprocess.Popen[str], log: Path) -> SnnFusionError:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    return SnnFusionError(f"the service ended with exit code {process.poll()}; the end of {log}:\n{tail}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
