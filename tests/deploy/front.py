"""The stack's nginx, with its own configuration, on loopback: other ports, files and replicas, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from snn_fusion.deploy import site
from snn_fusion.deploy.options import Options
from tests.deploy.certificates import certificate
from tests.deploy.monitoring import ROOT
from tests.serving.running import free_port

CONF = ROOT / "docker" / "nginx" / "nginx.conf"


@dataclass(frozen=True)
class Front:
    url: str
    folder: Path

    def client(self) -> httpx.Client:
        trusting = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        trusting.check_hostname = False
        return httpx.Client(base_url=self.url, verify=trusting, timeout=30)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; each request is logged once its answer is out."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def line(self, request_id: str) -> dict[str, Any]:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in self.lines():
                if line["request_id"] == request_id:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line of {request_id} in {self.lines()}")

    @property
    def said(self) -> str:
        """All that it wrote anywhere."""
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log", "out.log"))


@contextmanager
def front(folder: Path, replicas: Sequence[int]) -> Iterator[Front]:
    """Before the service on these two ports. Skips the test where nginx is not installed."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        pytest.skip("nginx is not installed (Debian: nginx)")
    folder.chmod(0o755)
    certificate(folder, datetime.now(UTC) + timedelta(days=1))
    (folder / "htpasswd").touch()
    site.write(folder / "state", Options())
    upstream = folder / "state" / "upstream.conf"
    text = upstream.read_text()
    for number, port in zip((11, 12), replicas, strict=True):
        text = text.replace(f"172.31.240.{number}:8080", f"127.0.0.1:{port}")
    upstream.write_text(text)
    port, plain, status = free_port(), free_port(), free_port()
    conf = CONF.read_text()
    for there, here in {
        "/tmp/": f"{folder}/",  # first: the folder may lie there
        "/etc/nginx/state": f"{folder}/state",
        "/run/secrets": str(folder),
        "/dev/stdout": f"{folder}/access.log",
        "/dev/stderr": f"{folder}/error.log",
        "resolver 127.0.0.11": "resolver_timeout 1s; resolver 127.0.0.1",  # nobody: the parts are not there
        "listen 127.0.0.1:8081;": "",
        "listen 8081": f"listen 127.0.0.1:{status}",
        "listen 80 ": f"listen 127.0.0.1:{plain} ",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
    }.items():
        assert there in conf, there
        conf = conf.replace(there, here)
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers could not read the test's folder
    (folder / "nginx.conf").write_text(user + conf)
    with (folder / "out.log").open("w") as out:
        process = subprocess.Popen(
            [program, "-c", str(folder / "nginx.conf"), "-e", f"{folder}/error.log"], stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and process.poll() is None:
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{plain}/health")
                break
            time.sleep(0.05)
        else:
            raise AssertionError((folder / "out.log").read_text() + (folder / "error.log").read_text())
        yield Front(f"https://127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(20)
