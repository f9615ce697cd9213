"""The process that answers is replaced when it is killed, and nothing listens but the service's own address."""

from __future__ import annotations

import contextlib
import http.client
import json
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
import pytest

from snn_fusion.serving.listener import bound, take_no_more
from snn_fusion.serving.parent import Parent
from tests.serving.made import as_json, recording
from tests.serving.running import ROOT, listening, served

SECRET = "a-password-that-nobody-else-may-read"
REPLACED_S = 2.0  # of processor time; of a quiet machine's time too, which benchmarks/serving.py measures


@pytest.fixture(scope="module")
def url(small_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("parent")
    with served(small_graph, home, redis=f"redis://:{SECRET}@127.0.0.1:1/0", cache=0, drain_s=0.5) as found:
        yield found


def parent(url: str) -> psutil.Process:
    """The command that was started, which has the one that listens as its child."""
    port = int(url.rpartition(":")[2])
    (found,) = [one for one in psutil.Process().children() if f"{port}" in one.cmdline()]
    return found


def test_nothing_listens_but_the_services_own_address(url: str) -> None:
    port = int(url.rpartition(":")[2])
    assert listening(parent(url)) == {("127.0.0.1", port)}


def test_no_secret_is_in_a_command_line(url: str) -> None:
    family = [parent(url), *parent(url).children(recursive=True)]
    assert len(family) == 2
    assert not [one for one in family if SECRET in " ".join(one.cmdline())]
    for one in family:  # where it is, only the owner can read it
        assert Path(f"/proc/{one.pid}/environ").stat().st_mode & 0o077 == 0


def test_one_that_is_killed_is_replaced_soon_and_connections_meanwhile_are_refused(url: str) -> None:
    (worker,) = parent(url).children()
    host, port = "127.0.0.1", int(url.rpartition(":")[2])
    worker.kill()
    killed, refused, held = time.monotonic(), 0, 0.0
    while True:
        began = time.monotonic()
        try:
            socket.create_connection((host, port), timeout=30).close()
        except (ConnectionRefusedError, ConnectionResetError):
            refused += 1
            held = max(held, time.monotonic() - began)
            time.sleep(0.01)
        else:
            if refused:
                break
        assert time.monotonic() - killed < 60
    assert refused and held < 0.5
    (new,) = parent(url).children()
    used = new.cpu_times()
    assert used.user + used.system < REPLACED_S
    answer = httpx.post(f"{url}/v1/predict", json=as_json(recording(1, "imu")), timeout=30)
    assert answer.status_code == 200
    assert listening(parent(url)) == {(host, port)}


def test_who_comes_while_it_ends_gets_an_answer_or_is_refused_and_never_a_reset(url: str) -> None:
    host = url.removeprefix("http://")
    body = json.dumps(as_json(recording(1, "audio"))).encode()
    over, found, broken = threading.Event(), set(), []

    def ask(kept: bool) -> None:
        connection = http.client.HTTPConnection(host, timeout=30)
        while not over.is_set():
            try:
                if not kept:
                    connection.close()
                connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                found.add((answer.status, answer.getheader("Connection")))
            except ConnectionRefusedError:
                break
            except OSError as error:
                broken.append(repr(error))
                break

    clients = [threading.Thread(target=ask, args=(number % 2 == 1,)) for number in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    process = parent(url)
    process.send_signal(signal.SIGTERM)
    process.wait(40)
    over.set()
    for client in clients:
        client.join()
    assert not broken
    assert {status for status, _ in found} <= {200, 429, 503}
    assert (200, None) in found and (200, "close") in found
    assert all(connection == "close" for status, connection in found if status == 503)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep a socket from taking more")
def test_a_socket_that_takes_no_more_is_closed_without_resetting_who_had_come() -> None:
    listener = bound("127.0.0.1", 0)
    listener.listen()
    with socket.create_connection(listener.getsockname()) as early, socket.socket() as late:
        early.sendall(b"asked")
        take_no_more(listener)
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
        accepted, _ = listener.accept()
        listener.close()
        with accepted:
            assert accepted.recv(5) == b"asked"
            accepted.sendall(b"answered")
        assert early.recv(8) == b"answered"


STARTS = """
import os, sys, time
from snn_fusion.serving.listener import bound, take_no_more
from snn_fusion.serving.parent import Parent

def work(tell):
    with open(sys.argv[1], "a") as out:
        out.write("started\\n")
    {body}

sys.exit(Parent(work).run())
"""


def started(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", STARTS.format(body=body), str(tmp_path / "starts")]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def count(tmp_path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return len((tmp_path / "starts").read_text().splitlines())
    return 0


def until(what: object, seconds: float = 60) -> None:
    over = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < over
        time.sleep(0.05)


def test_one_that_was_never_ready_is_not_started_again(tmp_path: Path) -> None:
    process = started(tmp_path, "return 2")
    assert process.wait(60) == 2 and count(tmp_path) == 1


def test_one_that_ends_soon_after_each_start_is_started_again_after_ever_longer_pauses(tmp_path: Path) -> None:
    process = started(tmp_path, 'os.write(tell, b"1"); os.abort()')
    until(lambda: count(tmp_path) >= 3)
    process.terminate()
    assert process.wait(30) == 0
    assert count(tmp_path) < 8


def test_one_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path, 'os.write(tell, b"1"); time.sleep(600)')
    until(lambda: count(tmp_path) == 1)
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    child.wait(10)


def test_a_pause_is_no_pause_for_who_wants_it_to_end() -> None:
    made = Parent(lambda _: 0)
    made._stop(signal.SIGTERM, None)
    assert made.run() == 0
