"""A really running service: its parent and the process that answers, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from starlette.types import ASGIApp

from snn_fusion.serving.listener import bound
from snn_fusion.serving.server import Server

ROOT = Path(__file__).resolve().parents[2]
STARTS_S = 90  # on a busy machine; about 10 on an idle one


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """All addresses on which it or a descendant of it listens, of any kind; the paths of Unix sockets have port 0."""
    found = set()
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            for place in one.net_connections("inet"):
                if place.status == psutil.CONN_LISTEN or (place.type == socket.SOCK_DGRAM and place.laddr):
                    found.add((place.laddr.ip, place.laddr.port))
            for named in one.net_connections("unix"):
                if named.laddr:
                    found.add((str(named.laddr), 0))
    return found


@contextlib.contextmanager
def served(model: Path | str, home: Path, ready: int = 200, **settings: object) -> Iterator[str]:
    """The base URL of a service of `model`, with its workspace in `home` and these settings, once /ready is `ready`.

    Ended at the end.
    """
    port, log = free_port(), home / "service.log"
    home.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SNN_FUSION_SERVE_")}
    environment |= {f"SNN_FUSION_SERVE_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {
        "SNN_FUSION_SERVE_MODEL": str(model),
        "SNN_FUSION_HOME": str(home),
        "PYTHONPATH": str(ROOT / "src"),
    }
    command = [sys.executable, "-m", "snn_fusion.serving.parent", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        _ready(f"http://127.0.0.1:{port}", process, log, ready)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def in_thread(app: ASGIApp) -> Iterator[str]:
    """The base URL of `app` behind our server, in this process, so that limits can be made small."""
    port = free_port()
    made = Server(app, bound("127.0.0.1", port))
    thread = threading.Thread(target=made.run)
    thread.start()
    while not made.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        made.should_exit = True
        thread.join()


def _ready(url: str, process: subprocess.Popen[bytes], log: Path, status: int) -> None:
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready", timeout=2).status_code == status:
                return
        time.sleep(0.1)
    raise AssertionError(f"the service is not ready:\n{log.read_text()[-3000:]}")
