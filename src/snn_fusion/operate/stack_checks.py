"""What must hold for the production stack on this host: before it is started, and while it runs."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from snn_fusion.deploy import certificate, images, secret_files
from snn_fusion.deploy.engine import GOOD, Stack, condition
from snn_fusion.deploy.options import NAME, Options, state_folder
from snn_fusion.deploy.stack import check_room, stack, started
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.operate.checks import Check, Outcome

CERTIFICATE_LEFT = timedelta(days=14)
ANSWER_S = 10.0
Containers = Mapping[str, Mapping[str, Any]]  # as Stack.containers tells them
WORKER = "airflow-scheduler"  # runs the stages, so that what they need is looked at there


def stack_checks() -> Iterator[Check]:
    """None where `up` was never run. Raises BadInput if its options cannot be used."""
    state = state_folder()
    if not (state / NAME).exists():
        return
    options, secrets = Options.load(state), state / "secrets"
    running = cache(lambda: stack(options))  # asks Docker, which may be what is wrong
    services = cache(lambda: running().containers())
    checks: dict[str, Callable[[], str]] = {
        "engine": lambda: f"{running().engine.docker}, {' '.join(running().engine.compose)}",
        "ports, memory, disk": lambda: room(options, running()),
        "secrets": partial(check_secrets, secrets),
        "certificate": partial(check_certificate, secrets, options.host),
        "images": lambda: check_images(running()),
        "containers": lambda: containers(services()),
        "published": lambda: published(services(), options),
        "service over TLS": partial(answers, options, secrets / "tls.crt", "/health"),
        "champion answers": partial(answers, options, secrets / "tls.crt", "/ready"),
    }
    for name, look in checks.items():
        yield Check("stack", name, look)


def room(options: Options, running: Stack) -> str:
    check_room(running.engine, options, running)
    return f"{running.engine.memory / 10**9:.0f} GB of memory for {', '.join(('core', *options.profiles))}"


def check_secrets(folder: Path) -> str:
    if not folder.is_dir():
        raise BadInput(folder, "no such folder", "snn-fusion up makes it")
    secret_files.check(folder)
    return f"{sum(path.is_file() for path in folder.iterdir())} files, for their owner only"


def check_certificate(folder: Path, host: str) -> str:
    certificate.check(folder, host, None)
    path = folder / "tls.crt"
    end = certificate.ends(path)
    if end - datetime.now(UTC) < CERTIFICATE_LEFT:
        raise BadInput(path, f"ends on {end:%Y-%m-%d}", "renew it: snn-fusion up --certificate ... --key ...")
    return f"for {host}, until {end:%Y-%m-%d}"


def check_images(running: Stack) -> str:
    needed = images.needed(running.profiles)
    missing = [name for name in needed if not running.engine.has_image(f"snn-fusion/{name}:{running.tag}")]
    if missing:
        raise BadInput(f"images of {running.tag}", f"missing: {', '.join(missing)}", "snn-fusion up builds them")
    return running.tag


def containers(services: Containers) -> str:
    """All running and healthy, or ended with their work done."""
    if not services:
        raise BadInput("stack", "does not run", "snn-fusion up")
    for name, one in sorted(services.items()):
        if (now := condition(name, one)) not in GOOD:
            raise BadInput(name, f"is {now}", f"its log: docker logs {one['Name']}")
    return f"{len(services)} as they should be"


def published(services: Containers, options: Options) -> str:
    """No port of any container but nginx's two."""
    for name, one in services.items():
        ports = {port["PublishedPort"] for port in one.get("Publishers") or () if port["PublishedPort"]}
        if ports - ({options.http_port, options.https_port} if name == "nginx" else set()):
            raise BadInput(name, f"publishes {sorted(ports)}", "remove `ports` from docker/compose.yaml; snn-fusion up")
    return "nginx only"


def answers(options: Options, trusted: Path, path: str) -> str:
    """Ask nginx over TLS, trusting the stack's certificate. Raises BadInput with what it answered."""
    address = "127.0.0.1" if options.bind == "0.0.0.0" else options.bind
    context = ssl.create_default_context()
    context.load_verify_locations(trusted)
    connection = _Named(address, options, context)
    try:
        connection.request("GET", path, headers={"Host": options.host})
        answer = connection.getresponse()
        body = answer.read(2000).decode(errors="replace")
    except OSError as error:
        raise BadInput(f"{options.origin}{path}", f"no answer: {error}", "snn-fusion status") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise BadInput(f"{options.origin}{path}", f"{answer.status}: {body[:200]}", "snn-fusion status")
    return "200"


class _Named(http.client.HTTPSConnection):
    """Connects to an address, and expects the certificate of the stack's name."""

    def __init__(self, address: str, options: Options, context: ssl.SSLContext) -> None:
        super().__init__(address, options.https_port, timeout=ANSWER_S, context=context)
        self._name, self._tls = options.host, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def ask_worker(running: Stack, *command: str) -> Any:
    """What a command of the project says as JSON in the container that runs the stages. Raises SnnFusionError,
    ValueError, LookupError.
    """
    return json.loads(running.run("exec", "-T", WORKER, "snn-fusion", *command, "--json").splitlines()[-1])


def inside() -> Iterator[Outcome]:
    """The installation's checks, made in the container that runs the stages; none where it does not run."""
    try:
        running = started()
        if running is None or "pipeline" not in running.profiles:
            return
        checks = ask_worker(running, "doctor", "--lenient")["checks"]
    except (SnnFusionError, ValueError, LookupError) as error:
        yield Outcome(WORKER, "doctor", "fail", str(error)[-300:], f"docker compose logs {WORKER}")
        return
    for one in checks:
        yield Outcome(WORKER, one["name"], one["state"], one["seen"], one["remedy"])
