"""`snn-fusion deploy` on a real engine, under load: a good image takes over, bad ones do not, no request fails."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from snn_fusion.config import Params
from snn_fusion.serving.tokens import Role
from snn_fusion.workspace import Workspace
from tests.docker.conftest import CLI, Running, put_champion
from tests.docker.test_core import BODY, JSON, answering, until

CLIENTS, PAUSE_S = 3, 0.05
APP = "/opt/snn-fusion/src/snn_fusion/serving/app.py"
# Lines of a Dockerfile that make a release of the service's image.
RELEASES = {
    "good": ["LABEL release=next"],
    "ends": ['CMD ["false"]'],
    "fails": [  # a third of the predictions; batches, which the smoke test sends, are answered
        "USER root",
        f"RUN sed -i '/^async def predict_one/a\\    if time.time_ns() // 1000 % 3 == 0: raise OSError' {APP}"
        f" && sed -i 's/^import asyncio$/import asyncio, time/' {APP} && grep -q 'asyncio, time' {APP}",
        "USER snn",
    ],
}


@pytest.fixture(scope="module")
def champion(stack: Running, registry: Workspace, params: Params) -> None:
    if answering(stack) == {"503"}:
        put_champion(registry, params, 1)
    until(lambda: "503" not in answering(stack))


def release(stack: Running, name: str) -> str:
    """Build this release on the image that runs; its name."""
    image = json.loads(stack.docker.run("inspect", stack.named("app-1")))[0]["Image"]
    stack.docker.run("tag", image, "snn-fusion/service:test-base")
    lines = ["FROM snn-fusion/service:test-base", *RELEASES[name]]
    command = [stack.docker.docker, "build", "--tag", f"snn-fusion/service:test-{name}", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True)
    return f"snn-fusion/service:test-{name}"


def deploy(stack: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(CLI), "deploy", *arguments], env=stack.environment, capture_output=True, text=True)


def last(stack: Running) -> dict[str, str]:
    """The newest line of the record."""
    updates: list[dict[str, str]] = json.loads(deploy(stack, "history", "--json").stdout)["updates"]
    return updates[-1]


def images(stack: Running) -> dict[str, str]:
    """Of each replica that exists, its image's digest."""
    names = {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in stack.containers()}
    return {name: container["Image"] for name, container in names.items() if name.startswith("app-")}


@contextmanager
def load(stack: Running) -> Iterator[Counter[str]]:
    """Clients that predict all the time; what was answered, by status."""
    statuses, over = Counter[str](), threading.Event()

    def ask() -> None:
        with stack.client(Role.PREDICTOR) as client:
            while not over.wait(PAUSE_S):
                try:
                    answer = client.post("/v1/predict", content=BODY, headers=JSON)
                except (
                    httpx.RemoteProtocolError
                ):  # a kept connection was closed before the answer began: RFC 9112, 9.3.1
                    answer = client.post("/v1/predict", content=BODY, headers=JSON)
                statuses[str(answer.status_code)] += 1

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield statuses
    finally:
        over.set()
        for client in clients:
            client.join()


def check_nothing_failed(statuses: Counter[str]) -> None:
    # On a busy machine the replica that is left sheds load with 429, as it is meant to.
    assert set(statuses) <= {"200", "429"} and statuses["200"] > 100, statuses


@pytest.mark.usefixtures("champion")
def test_a_rolling_update_replaces_both_replicas_and_rollback_puts_the_old_image_back(stack: Running) -> None:
    old, image = images(stack), release(stack, "good")
    with load(stack) as statuses:
        done = deploy(stack, "rolling", "--image", image, "--watch", "20")
        assert done.returncode == 0, done.stderr
        assert set(images(stack)) == {"app-1", "app-2"} and not set(images(stack).values()) & set(old.values())
        assert stack.up().returncode == 0
        assert not set(images(stack).values()) & set(old.values()), "`up` leaves what the update put in place"
        assert deploy(stack, "rollback").returncode == 0
    assert images(stack) == old
    check_nothing_failed(statuses)
    assert (last(stack)["way"], last(stack)["verdict"]) == ("rollback", "done")


@pytest.mark.usefixtures("champion")
def test_an_image_that_ends_is_turned_back_and_the_record_says_why(stack: Running) -> None:
    old, image = images(stack), release(stack, "ends")
    with load(stack) as statuses:
        done = deploy(stack, "rolling", "--image", image)
    assert done.returncode == 1 and "turned back" in done.stderr
    assert images(stack) == old
    check_nothing_failed(statuses)
    assert last(stack)["verdict"] == "turned back" and "app-1 does not stay up" in last(stack)["why"]


@pytest.mark.usefixtures("champion")
def test_a_canary_that_fails_is_turned_back_and_no_client_sees_it(stack: Running) -> None:
    old, image = images(stack), release(stack, "fails")
    with load(stack) as statuses:
        done = deploy(stack, "canary", "--image", image, "--share", "30", "--trial", "120")
    assert done.returncode == 1, done.stderr
    assert images(stack) == old
    check_nothing_failed(statuses)
    assert last(stack)["verdict"] == "turned back" and last(stack)["why"].startswith("errors: ")


@pytest.mark.usefixtures("champion")
def test_an_image_that_is_not_the_services_is_refused_before_anything_is_changed(stack: Running) -> None:
    before = images(stack)
    redis = json.loads(stack.docker.run("inspect", stack.named("redis")))[0]["Config"]["Image"]
    done = deploy(stack, "blue-green", "--image", redis)
    assert done.returncode == 2 and "is the image snn-fusion/redis" in done.stderr
    assert deploy(stack, "rolling", "--tag", "no-such-tag").returncode == 2
    assert images(stack) == before
