"""The Airflow and MLflow UIs on this machine only, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.embedded_airflow import environment, migrate, program
from snn_fusion.registry.log_files import prune
from snn_fusion.registry.services import Service, Services, end_leftovers
from snn_fusion.registry.tracking import URI, artifact_root, connect, tracking_uri
from snn_fusion.workspace import PACKAGE, Workspace, disk_errors, print_waiting, write_atomic

HOST = "127.0.0.1"
USER = "admin"
START_S = 120.0
DAY_S = 86_400.0
LAST = "scheduler"  # started when the others answer


def ui(ws: Workspace, airflow_port: int, mlflow_port: int, model: str) -> None:
    """Start both UIs and stay until Ctrl-C. `model`: the registered model's name.

    A process that ends is started again; those of an earlier `ui` that was killed are ended first. Raises BadInput if
    a port is taken or another `ui` is at work in this workspace, SnnFusionError if a process does not start.
    """
    own_mlflow = URI not in os.environ
    for name in end_leftovers(_record(ws), "snn-fusion ui"):
        print_waiting(f"ended what a killed `snn-fusion ui` had left: {name}")
    ports = {"--airflow-port": airflow_port} | ({"--mlflow-port": mlflow_port} if own_mlflow else {})
    for option, port in ports.items():
        _check_free(option, port)
    migrate(ws)
    prune(ws)
    password = _password(ws)
    commands = _airflow_commands(airflow_port)
    if own_mlflow:
        connect(ws)  # makes the database, if there was no run yet
        commands["mlflow"] = _mlflow_command(ws, mlflow_port)
    addresses = {"Airflow": f"http://{HOST}:{airflow_port}"}
    addresses["MLflow"] = f"http://{HOST}:{mlflow_port}" if own_mlflow else tracking_uri(ws)
    with contextlib.suppress(KeyboardInterrupt):
        _serve(ws, commands, _settings(ws, airflow_port), addresses, pages(addresses, model), password)


def _serve(
    ws: Workspace,
    commands: Mapping[str, list[str]],
    env: Mapping[str, str],
    addresses: Mapping[str, str],
    shown: Mapping[str, str],
    password: str,
) -> None:
    console = Console()
    with Services(_record(ws)) as services:
        with console.status("starting"):
            for name, command in commands.items():
                if name != LAST:
                    services.add(Service(name, command, env, _log(ws, name)))
            local = [url for url in addresses.values() if url.startswith(f"http://{HOST}:")]
            _wait_for(ws, local, services)
            # Tasks report to the API server: without it, the first ones would fail.
            services.add(Service(LAST, commands[LAST], env, _log(ws, LAST)))
            services.check_alive()
        _announce(ws, console, shown, password)
        pruned = time.monotonic()
        try:
            while True:
                for said in services.keep_alive():
                    console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
                if time.monotonic() - pruned > DAY_S:
                    prune(ws)
                    pruned = time.monotonic()
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("stopping")
            raise


def _wait_for(ws: Workspace, urls: Sequence[str], services: Services) -> None:
    """Until each of them answers. Raises SnnFusionError if a process ends, or after START_S."""
    waiting, deadline = list(urls), time.monotonic() + START_S
    while waiting and time.monotonic() < deadline:
        services.check_alive()
        waiting = [url for url in waiting if not _answers(url)]
        time.sleep(0.3)
    if waiting:
        raise SnnFusionError(f"{', '.join(waiting)}: no answer after {START_S:.0f} s; see {_log(ws, '*')}")


def pages(addresses: Mapping[str, str], model: str) -> dict[str, str]:
    """Both UIs, and in them the pages of the DAG and of the registered model; a store that is no server has none."""
    shown = dict(addresses) | {"DAG": f"{addresses['Airflow']}/dags/retrain"}
    if addresses["MLflow"].startswith("http"):
        shown["model"] = f"{addresses['MLflow'].rstrip('/')}/#/models/{model}?workflowType=machine_learning"
    return shown


def _announce(ws: Workspace, console: Console, addresses: Mapping[str, str], password: str) -> None:
    """Where to look and how to log in; the password only goes to a terminal, never into a pipe or a file."""
    where = password if console.is_terminal else f"in {_password_file(ws)}"
    lines = [f"{name:8} {url}" for name, url in addresses.items()]
    lines += [f"{'log in':8} as {USER}, password {where}", f"{'logs':8} {_log(ws, '*')}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print("both answer on this machine only; Ctrl-C ends them", style="dim")


def _airflow_commands(port: int) -> dict[str, list[str]]:
    airflow = program("airflow")
    return {
        "api-server": [airflow, "api-server", "--host", HOST, "--port", str(port)],
        # Without their log servers, which would listen on every interface.
        "scheduler": [airflow, "scheduler", "--skip-serve-logs"],
        "dag-processor": [airflow, "dag-processor"],
        "triggerer": [airflow, "triggerer", "--skip-serve-logs"],
    }


def _mlflow_command(ws: Workspace, port: int) -> list[str]:
    store, artifacts = tracking_uri(ws), artifact_root(ws).as_uri()
    safe = f"--app-dir {shlex.quote(str(PACKAGE.parent))}"  # else uvicorn looks for modules in the current folder first
    return [
        *(program("mlflow"), "ui", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store, "--artifacts-destination", artifacts, "--default-artifact-root", artifacts),
        *("--uvicorn-opts", safe),
    ]


def _settings(ws: Workspace, port: int) -> dict[str, str]:
    return environment(ws) | {
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_password_file(ws)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _record(ws: Workspace) -> Path:
    return ws.path("airflow", "ui.json")


def _password_file(ws: Workspace) -> Path:
    return ws.path("airflow", "passwords.json")


def _password(ws: Workspace) -> str:
    """Of Airflow's one user: made once a workspace, readable by the owner only."""
    path = _password_file(ws)
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(path.read_text())[USER])
    password = secrets.token_urlsafe(12)
    earlier = os.umask(0o077)
    try:
        with disk_errors(path):
            write_atomic(path, json.dumps({USER: password}))
    finally:
        os.umask(earlier)
    return password


def _log(ws: Workspace, name: str) -> Path:
    return ws.path("logs", f"ui-{name}.log")


def _check_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            remedy = f"end the program that uses it, or choose another: snn-fusion ui {option} {port + 1}"
            raise BadInput(option, f"port {port} cannot be used: {error.strerror}", remedy) from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
