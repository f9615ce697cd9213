"""What must hold for the production stack on this host: before it is started, and while it runs."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

from snn_fusion.deploy import certificate, images, secret_files
from snn_fusion.deploy.engine import Engine, find
from snn_fusion.deploy.options import NAME, Options, state_folder
from snn_fusion.deploy.stack import check_room, stack
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.operate.checks import Check, Outcome

CERTIFICATE_LEFT = timedelta(days=14)
ANSWER_S = 10.0
WORKER = "airflow-scheduler"  # runs the stages, so that what they need is looked at there


def stack_checks() -> Iterator[Check]:
    """None where `up` was never run. Raises BadInput if its options cannot be used."""
    state = state_folder()
    if not (state / NAME).exists():
        return
    options, engine = Options.load(state), cache(find)
    secrets = state / "secrets"
    checks: dict[str, Callable[[], str]] = {
        "engine": lambda: f"{engine().docker}, {' '.join(engine().compose)}",
        "ports, memory, disk": lambda: room(engine(), options),
        "secrets": partial(check_secrets, secrets),
        "certificate": partial(check_certificate, secrets, options.host),
        "images": lambda: check_images(engine(), options),
        "containers": lambda: containers(engine(), options),
        "published": lambda: published(engine(), options),
        "service over TLS": partial(answers, options, secrets / "tls.crt", "/health"),
        "champion answers": partial(answers, options, secrets / "tls.crt", "/ready"),
    }
    for name, look in checks.items():
        yield Check("stack", name, look)


def room(engine: Engine, options: Options) -> str:
    check_room(engine, options, stack(options, engine))
    return f"{engine.memory / 10**9:.0f} GB of memory for {', '.join(('core', *options.profiles))}"


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


def check_images(engine: Engine, options: Options) -> str:
    tag = images.tag()
    missing = [name for name in images.needed(options.profiles) if not engine.has_image(f"snn-fusion/{name}:{tag}")]
    if missing:
        raise BadInput(f"images of {tag}", f"missing: {', '.join(missing)}", "snn-fusion up builds them")
    return tag


def containers(engine: Engine, options: Options) -> str:
    """All running, healthy, and of this checkout's images."""
    running = stack(options, engine)
    services = running.containers()
    if not services:
        raise BadInput("stack", "does not run", "snn-fusion up")
    for name, one in sorted(services.items()):
        ended = one["State"] == "exited" and one["ExitCode"] == 0  # a migration, done
        if not ended and (one["State"] != "running" or one["Health"] not in ("healthy", "")):
            what = f"{one['State']}, {one['Health'] or 'no health'}"
            raise BadInput(name, what, f"its log: docker logs {one['Name']}")
    return f"{len(services)} as they should be"


def published(engine: Engine, options: Options) -> str:
    """No port of any container but nginx's two."""
    services = stack(options, engine).containers()
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


def inside() -> list[Outcome]:
    """The installation's checks, made in the container that runs the stages; none where it does not run."""
    options = Options.load(state_folder())
    if "pipeline" not in options.profiles:
        return []
    try:
        said = stack(options).run("exec", "-T", WORKER, "snn-fusion", "doctor", "--json", "--lenient")
        found = json.loads(said.splitlines()[-1])["checks"]
    except (SnnFusionError, ValueError, LookupError) as error:
        return [Outcome(WORKER, "doctor", "fail", str(error)[-300:], f"docker compose logs {WORKER}")]
    return [Outcome(WORKER, one["name"], one["state"], one["seen"], one["remedy"]) for one in found]
