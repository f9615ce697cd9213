"""The record of promotions on a real MLflow server that two workspaces share, and a server that does not answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger, record, tracking
from snn_fusion.registry.promote import promote
from snn_fusion.registry.reach import REACH_S
from snn_fusion.registry.register import register
from snn_fusion.registry.rollback import rollback
from snn_fusion.workspace import Workspace
from tests.registry.conftest import put_data, put_evaluation, put_network


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of its own."""
    home = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store, home / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    command += ["--artifacts-destination", str(home / "artifacts")]
    env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 300  # imports, on a busy machine
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except (OSError, urllib.error.URLError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def two(
    tmp_path: Path, takes: Path, params: Params, server: str, request: pytest.FixtureRequest, ws: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Params, Workspace, Workspace]:  # fmt: skip
    """Two workspaces with the same recordings on one server, and a registered model of the test's own."""
    monkeypatch.setenv(tracking.URI, server)
    name = request.node.name.replace("[", "-").replace("]", "")[:60]
    own = params.registry.model_copy(update={"model": name, "experiment": name})
    both = ws, Workspace(tmp_path / "second")
    for one in both:
        put_data(one, takes)
    return params.model_copy(update={"registry": own}), *both


def challenge(params: Params, ws: Workspace, seed: int, mistakes: int) -> str:
    put_network(ws, params, seed=seed)
    put_evaluation(ws, {"n3": mistakes})
    return str(register(params, ws)["version"])


def decisions(ws: Workspace) -> list[tuple[str, bool]]:
    return [(one.body["version"], one.body["promoted"]) for one in ledger.read(ws.path(record.RECORD))]


def test_two_workspaces_on_one_server_see_each_others_decisions_and_can_roll_them_back(
    two: tuple[Params, Workspace, Workspace],
) -> None:
    params, first, second = two
    challenge(params, first, 1, 90)
    assert promote(params, first)["promoted"]
    challenge(params, second, 2, 40)
    assert promote(params, second)["champion_before"] == "1"
    challenge(params, first, 3, 60)
    assert not promote(params, first)["promoted"]
    client = tracking.connect(first)
    model = params.registry.model
    assert client.get_registered_model(model).aliases == {"champion": "2", "challenger": "3"}
    texts = [client.get_model_version(model, number).description.split(" on ")[0] for number in "23"]
    assert texts == ["Promoted", "Not promoted"]
    assert rollback(params, first)["version"] == "1"
    assert promote(params, second)["reason"].startswith("version 2 was rolled back on ")
    assert decisions(first) == decisions(second) == [("1", True), ("2", True), ("3", False), ("1", True)]
    assert first.path("promotions.jsonl").read_bytes() == second.path("promotions.jsonl").read_bytes()


def test_a_decision_that_another_workspace_overtook_is_refused_and_made_again(
    two: tuple[Params, Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, first, second = two
    challenge(params, first, 1, 90)
    real = record.append

    def after_the_other(*arguments: object) -> ledger.Entry:
        monkeypatch.setattr(record, "append", real)
        assert promote(params, second, "1")["promoted"]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "append", after_the_other)
    assert promote(params, first, "1")["reason"] == "version 1 is the champion"
    assert decisions(first) == decisions(second) == [("1", True)]


def test_a_decision_is_never_written_over(two: tuple[Params, Workspace, Workspace]) -> None:
    params, first, second = two
    challenge(params, first, 1, 90)
    client, model = tracking.connect(first), params.registry.model
    seen = [record.read(client, model, ws) for ws in (first, second)]
    body = {"model": model, "version": "1", "promoted": False, "run_id": "r", "time": "2030-01-01", "reason": "first"}
    record.append(client, seen[0], body, first)
    with pytest.raises(record.Overtaken):
        record.append(client, seen[1], body | {"reason": "second"}, second)
    assert [one.body["reason"] for one in record.read(client, model, second).entries] == ["first"]


def test_records_that_two_workspaces_kept_before_are_both_adopted_in_order_of_time(
    two: tuple[Params, Workspace, Workspace],
) -> None:
    params, first, second = two
    model = params.registry.model
    runs = {}
    for seed, mistakes in ((1, 90), (2, 40), (3, 20)):
        challenge(params, first, seed, mistakes)
        runs[str(seed)] = register(params, first)["run_id"]
    for ws, numbers in ((first, "13"), (second, "2")):
        entries: list[ledger.Entry] = []
        for number in numbers:
            body = {"model": model, "version": number, "run_id": runs[number], "promoted": True, "reason": "better"}
            before = str(int(number) - 1) if number > "1" else None
            body |= {"time": f"2030-01-0{number}T00:00:00+00:00", "champion_before": before}
            entries.append(ledger.following(entries, body))
        ws.path("promotions.jsonl").write_text("".join(one.line + "\n" for one in entries))
    client = tracking.connect(first)
    client.set_registered_model_alias(model, "champion", "3")
    verbatim = first.path("promotions.jsonl").read_bytes()
    record.read(client, model, first)
    assert first.path("promotions.jsonl").read_bytes() == verbatim
    found = record.read(client, model, second)
    assert [one.body["version"] for one in found.accepted] == ["1", "2", "3"]
    assert rollback(params, second)["version"] == "2"
    assert rollback(params, first)["version"] == "1"
    assert len(list(second.root.glob("promotions-*.jsonl"))) == 1  # its own, as it was


@pytest.mark.parametrize("tamper", ["changed", "removed"])
def test_a_record_that_was_altered_in_mlflow_is_refused(
    ready: Workspace, params: Params, tamper: str
) -> None:  # in the workspace's own database, where one can
    import sqlite3

    for seed, mistakes in ((1, 90), (2, 40)):
        challenge(params, ready, seed, mistakes)
        promote(params, ready)
    client = tracking.connect(ready)
    run = client.get_registered_model("snn-fusion").tags[record.POINTER]
    change = {
        "changed": "UPDATE params SET value = replace(value, 'first champion', 'best champion')",
        "removed": "DELETE FROM params",
    }[tamper]
    with sqlite3.connect(tracking.database(ready)) as db:
        db.execute(f"{change} WHERE run_uuid = ? AND key = '000001'", (run,))
    db.close()
    with pytest.raises(BadInput, match=r"does not follow from the line before|decision 1 is missing"):
        promote(params, ready)


def test_a_copy_of_another_registrys_record_is_put_aside(
    ready: Workspace, params: Params, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(params, ready, 1, 90)
    promote(params, ready)
    shutil.copyfile(empty_store, tmp_path / "other.db")
    monkeypatch.setenv(tracking.URI, f"sqlite:///{tmp_path}/other.db")
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of such a store
    challenge(params, ready, 1, 90)
    assert promote(params, ready)["promoted"]
    assert decisions(ready) == [("1", True)] and len(list(ready.root.glob("promotions-*.jsonl"))) == 1


@pytest.mark.parametrize("kind", ["nothing listens", "accepts and never answers", "drips", "drops packets"])
def test_a_dead_server_is_named_within_seconds_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import threading

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind != "nothing listens":
            listener.listen(0 if kind == "drops packets" else 5)
        waiting = [socket.socket() for _ in range(4 if kind == "drops packets" else 0)]
        for one in waiting:  # until the queue is full: further ones get no answer
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not stop.wait(0.5):
                    connection.send(b"H")

        if kind == "drips":
            threading.Thread(target=drip, daemon=True).start()
        monkeypatch.setenv(tracking.URI, f"http://ada:secret@127.0.0.1:{listener.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(BadInput, match=r"MLFLOW_TRACKING_URI: MLflow cannot be used at .*start the server") as told:
            tracking.connect(workspace)
        stop.set()
        for one in waiting:
            one.close()
    assert time.monotonic() - start < REACH_S + 1  # before MLflow, which takes seconds, would be imported
    assert "secret" not in json.dumps(str(told.value))
