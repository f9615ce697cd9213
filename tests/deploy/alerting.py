"""Prometheus and Alertmanager with the shipped rules and routes, against other targets and in a hurry."""

from __future__ import annotations

import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.deploy.monitoring import MONITORING, tool
from tests.deploy.pipeline import free_port

ESCALATED_S = 10  # what 15 minutes are here


@dataclass
class Heard:
    """What came in: web hooks and chat messages as (time, path, headers, JSON), mails as (time, to, subject, text).

    Times are in seconds since 1970.
    """

    web: list[tuple[float, str, Mapping[str, str], Any]] = field(default_factory=list)
    mail: list[tuple[float, str, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        paged = [(round(at, 1), path, body.get("status")) for at, path, _, body in self.web]
        return f"paged {sorted(self.paged())}, {paged}, mail {[(to, subject) for _, to, subject, _ in self.mail]}"

    def paged(self, status: str = "firing") -> dict[str, dict[str, Any]]:
        """Alerts that the pager was told of, by name."""
        alerts = [one for _, path, _, body in self.web if path == "/pager" for one in body["alerts"]]
        return {one["labels"]["alertname"]: one for one in alerts if one["status"] == status}

    def chat(self) -> str:
        return "\n".join(json.dumps(body) for _, path, _, body in self.web if path == "/chat")

    def mailed(self, to: str) -> str:
        return "\n".join(f"{subject}\n{text}" for _, whom, subject, text in self.mail if whom == to)


@contextmanager
def receivers(heard: Heard) -> Iterator[tuple[int, int]]:
    """The ports of a web server and a mail server that note what they get."""

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.web.append((time.time(), self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            to = ""
            for raw in self.rfile:
                line = raw.decode().strip()
                if line.upper().startswith("RCPT TO:"):
                    to = line[8:].strip("<> ")
                if line.upper() == "DATA":
                    self.say("354 go on")
                    self.note(to, b"".join(iter(self.rfile.readline, b".\r\n")))
                self.say("221 bye" if line.upper() == "QUIT" else "250 fine")

        def note(self, to: str, content: bytes) -> None:
            message = message_from_bytes(content, policy=policy.default)
            parts = [part.get_content() for part in message.walk() if part.get_content_maintype() == "text"]
            heard.mail.append((time.time(), to, str(message["Subject"]), "\n".join(parts)))

        def say(self, text: str) -> None:
            with suppress(OSError):
                self.wfile.write(f"{text}\r\n".encode())

    web, mail = ThreadingHTTPServer(("127.0.0.1", 0), Web), socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    mail.daemon_threads = True
    for server in (web, mail):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield web.server_address[1], mail.server_address[1]
    finally:
        for server in (web, mail):
            server.shutdown()
            server.server_close()


def hurried_routes(folder: Path, web: int, mail: int) -> Path:
    """A copy of alertmanager.yml whose receivers are those of the test, and whose times are seconds."""
    content = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    (folder / "secret").write_text("a secret")
    (folder / "chat").write_text(f"http://127.0.0.1:{web}/chat")
    content["global"] |= {"smtp_smarthost": f"127.0.0.1:{mail}", "smtp_require_tls": False}
    content["global"]["smtp_auth_password_file"] = str(folder / "secret")
    for route in (content["route"], *content["route"]["routes"]):
        if "group_wait" in route:
            route["group_wait"] = f"{ESCALATED_S}s" if route["group_wait"] == "15m" else "1s"
    content["route"]["group_interval"] = "1s"
    for receiver in content["receivers"]:
        for one in receiver.get("webhook_configs", []):
            one["url"] = f"http://127.0.0.1:{web}/{receiver['name']}"
            one["http_config"]["authorization"]["credentials_file"] = str(folder / "secret")
        for one in receiver.get("slack_configs", []):
            one["api_url_file"] = str(folder / "chat")
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def hurried_rules(folder: Path, targets: Mapping[str, Sequence[str]], alertmanager: int) -> Path:
    """A copy of prometheus.yml with these targets and nothing else, and of the rules: their expressions, waiting for
    nothing."""
    content = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    content["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
    token = folder / "token"
    token.write_text("a token")
    kept = [one for one in content["scrape_configs"] if one["job_name"] in targets]
    for one in kept:
        one.pop("file_sd_configs", None)
        one["static_configs"] = [{"targets": list(targets[one["job_name"]])}]
        if "authorization" in one:
            one["authorization"]["credentials_file"] = str(token)
    content["scrape_configs"] = kept
    for path in (MONITORING / "rules").glob("*.yml"):
        groups = yaml.safe_load(path.read_text())
        for group in groups["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
        (folder / "rules").mkdir(exist_ok=True)
        (folder / "rules" / path.name).write_text(yaml.safe_dump(groups))
    made = folder / "prometheus.yml"
    made.write_text(yaml.safe_dump(content))
    return made


@contextmanager
def watching(folder: Path, targets: Mapping[str, Sequence[str]], heard: Heard) -> Iterator[str]:
    """The URL of a Prometheus that watches these targets (job: addresses), and tells a real Alertmanager."""
    prometheus, alertmanager = free_port(), free_port()
    with receivers(heard) as (web, mail):
        routes, config = hurried_routes(folder, web, mail), hurried_rules(folder, targets, alertmanager)
        commands = (
            [
                tool("prometheus-alertmanager"),
                f"--config.file={routes}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            ],
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
                "--rules.alert.resend-delay=1s",  # the first may be sent before Alertmanager is known
            ],
        )
        with (folder / "log").open("w") as log:
            started = [subprocess.Popen(one, stdout=log, stderr=subprocess.STDOUT) for one in commands]
            try:
                for port in (alertmanager, prometheus):
                    _until_ready(f"http://127.0.0.1:{port}/-/ready", folder / "log")
                yield f"http://127.0.0.1:{prometheus}"
            finally:
                for process in started:
                    process.terminate()
                for process in started:
                    process.wait(20)


def firing(prometheus: str) -> set[str]:
    """Names of the alerts that fire, each with its severity."""
    alerts = httpx.get(f"{prometheus}/api/v1/alerts", timeout=10).raise_for_status().json()["data"]["alerts"]
    return {f"{one['labels']['alertname']} {one['labels']['severity']}" for one in alerts if one["state"] == "firing"}


def _until_ready(url: str, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
