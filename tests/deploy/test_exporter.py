"""What `snn-fusion exporter` tells Prometheus, and that nothing keeps it from answering."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from snn_fusion.errors import BadInput
from snn_fusion.registry.tracking import URI, connect
from snn_fusion.watch.certificate import parse_endpoint
from snn_fusion.watch.exporter import start
from snn_fusion.watch.latest import Latest
from snn_fusion.workspace import Workspace
from tests.deploy.certificates import tls_server
from tests.deploy.pipeline import (
    MODEL,
    Samples,
    exporter,
    free_port,
    of,
    put,
    put_all,
    put_backups,
    put_decisions,
    put_targets,
    scraped,
)

SCRAPE_S = 1.0  # that a scrape may take
REGISTERED = """
from snn_fusion import cli, cli_watch
cli.app.command("exporter")(cli_watch.exporter)
cli.main()
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URI, raising=False)


def scraped_until(url: str, holds: Callable[[Samples], bool], patience_s: float = 60) -> Samples:
    until = time.monotonic() + patience_s
    while not holds(found := scraped(url)):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


def test_a_workspace_is_told_as_its_files_say(workspace: Workspace) -> None:
    put_all(workspace)
    with exporter(workspace) as url:
        found = scraped(url)
    assert of(found, "last_training_duration_seconds") == pytest.approx(2.9)
    assert of(found, "last_training_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert of(found, "last_training_epochs") == of(found, "last_training_best_epoch") == 2
    assert of(found, "learning_curve", training="abcdef01", measure="val_loss", epoch="2") == 1.4
    assert of(found, "learning_curve", training="abcdef01", measure="val_accuracy_audio", epoch="2") is None
    assert of(found, "accuracy", condition="clean", view="audio") == 0.9
    assert of(found, "accuracy", condition="n1", view="fused") == 0.8
    assert of(found, "synaptic_operations", view="fused", kind="effective_acs") == 1200
    assert of(found, "evaluation_firing_rate", view="fused", layer="joint") == 0.125
    chip = {"target": "loihi2", "kind": "effective_acs", "provenance": "measured"}
    assert of(found, "target_synaptic_operations", **chip) == 1300
    assert of(found, "decisions_total", outcome="promoted") == 1
    assert of(found, "decisions_total", outcome="refused") == 2
    assert of(found, "decisions_total", outcome="rolled_back") == 0
    assert of(found, "champion_since_timestamp_seconds") == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    last = datetime(2026, 3, 3, tzinfo=UTC).timestamp()
    assert of(found, "last_decision_timestamp_seconds", outcome="refused") == last
    assert of(found, "backup_ok") == of(found, "backup_verified") == of(found, "drill_ok") == 1
    assert of(found, "snapshot_ok") == 1
    assert (of(found, "backup_bytes"), of(found, "drill_duration_seconds")) == (4096, 42.5)
    assert 0 < (of(found, "disk_free_bytes") or 0) <= (of(found, "disk_size_bytes") or 0)
    sources = ("training", "evaluation", "targets", "promotions", "backups", "disk")
    assert all(of(found, "source_readable", source=name) == 1 for name in sources)


def test_no_figure_of_akida_is_told(workspace: Workspace) -> None:
    put_targets(workspace)
    with exporter(workspace) as url:
        text = httpx.get(url).text
    assert "akida" not in text.lower() and "777" not in text and "778" not in text


def test_an_empty_workspace_is_no_error_and_stays_empty(workspace: Workspace) -> None:
    workspace.root.mkdir()
    with exporter(workspace) as url:
        found = scraped(url)
    assert of(found, "registry_reachable") == 0
    assert of(found, "source_readable", source="disk") == 1
    assert of(found, "source_readable", source="training") is None
    assert of(found, "backup_timestamp_seconds") is None
    assert list(workspace.root.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "source"),
    [
        ("trained/history.csv", "epoch,seconds\n1,soon\n", "training"),
        ("evaluated/evaluation.json", "{", "evaluation"),
        ("compared/targets.json", '{"targets": []}', "targets"),
        ("backups/state.json", '{"backup": {"at": "2026-03-01T02:00:00"}}', "backups"),
    ],
)
def test_a_damaged_file_is_told_and_hides_nothing_else(
    workspace: Workspace, file: str, content: str, source: str
) -> None:
    put_all(workspace)
    put(workspace, file, content)
    with exporter(workspace) as url:
        found = scraped(url)
    broken = {
        dict(labels)["source"] for (name, labels), value in found.items() if "source_readable" in name and not value
    }
    assert broken == {source}


def test_an_altered_record_of_promotions_is_told(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    put_decisions(workspace, "promoted", "refused")
    record = workspace.path("promotions.jsonl")
    record.write_text(record.read_text().replace('"promoted": true', '"promoted": false'))
    with exporter(workspace) as url:
        found = scraped(url)
    assert of(found, "promotion_record_intact") == of(found, "source_readable", source="promotions") == 0
    assert of(found, "decisions_total", outcome="promoted") is None
    assert "promotions.jsonl: line 2" in caplog.text


def test_a_failed_backup_and_a_failed_drill_are_told(workspace: Workspace) -> None:
    put_backups(workspace, backup={"ok": False, "verified": False, "error": "no space"}, drill={"ok": False})
    with exporter(workspace) as url:
        found = scraped(url)
        text = httpx.get(url).text
    assert of(found, "backup_ok") == of(found, "backup_verified") == of(found, "drill_ok") == 0
    assert "no space" not in text  # what a message quotes is nobody's label


def test_versions_and_roles_are_those_of_the_registry(workspace: Workspace) -> None:
    client = connect(workspace)
    client.create_registered_model(MODEL)
    for accuracy in ("97.5 %", "audio 90.0 %, imu 80.5 %"):
        run = client.create_run("0")
        client.set_terminated(run.info.run_id, end_time=1_770_000_000_000)
        tags = {"accuracy": accuracy, "graph_digest": "0123456789abcdef", "synthetic": "true"}
        client.create_model_version(MODEL, "file:///nowhere", run.info.run_id, tags=tags)
    client.set_registered_model_alias(MODEL, "champion", "1")
    with exporter(workspace) as url:
        found = scraped_until(url, lambda samples: of(samples, "registry_reachable") == 1)
    assert of(found, "versions") == 2
    assert of(found, "champion_version") == 1
    champion = {"role": "champion", "version": "1", "digest": "0123456789ab", "synthetic": "true"}
    assert of(found, "model_info", **champion) == 1
    assert of(found, "champion_trained_timestamp_seconds") == 1_770_000_000
    assert of(found, "version_accuracy", version="1", view="fused") == 0.975
    assert of(found, "version_accuracy", version="2", view="imu") == 0.805


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_scrapes_are_quick_while_mlflow_hangs(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, silent_server: int
) -> None:
    put_all(workspace)
    monkeypatch.setenv(URI, f"http://127.0.0.1:{silent_server}")
    with exporter(workspace, tls=(("127.0.0.1", silent_server),)) as url:
        for _ in range(3):
            began = time.monotonic()
            found = scraped(url)
            assert time.monotonic() - began < 2 * SCRAPE_S  # of which this busy machine is given half
            assert of(found, "registry_reachable") == 0
            assert of(found, "accuracy", condition="clean", view="fused") == 0.98


def test_what_was_known_stays_known_while_nothing_new_can_be_read() -> None:
    answers = iter([7])
    latest = Latest("a test", lambda: next(answers), every_s=0, patience_s=5)
    assert (latest.ask().value, latest.ask().value) == (7, 7)
    until = time.monotonic() + 5
    while latest.ask().current and time.monotonic() < until:
        time.sleep(0.01)
    assert latest.ask().value == 7 and not latest.ask().current


def test_a_reading_that_hangs_is_waited_for_by_nobody_and_not_current() -> None:
    hold, began = threading.Event(), []

    def read() -> int:
        began.append(1)
        if len(began) > 1:
            hold.wait(30)
        return len(began)

    latest = Latest("a test", read, every_s=0, patience_s=0.1, stale_s=0.3)
    assert latest.ask().current
    time.sleep(0.4)
    started = time.monotonic()
    found = [latest.ask() for _ in range(5)]
    assert time.monotonic() - started < 3
    assert [one.value for one in found] == [1] * 5 and not found[-1].current
    assert len(began) == 2  # the others did not join the one that hangs
    hold.set()


def test_the_end_of_a_certificate_is_asked_of_the_server(workspace: Workspace, tmp_path: Path) -> None:
    workspace.root.mkdir()
    ends = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    with tls_server(tmp_path, ends) as port, exporter(workspace, tls=(("127.0.0.1", port),)) as url:
        name, labels = "certificate_end_timestamp_seconds", {"endpoint": f"127.0.0.1:{port}"}
        found = scraped_until(url, lambda samples: of(samples, name, **labels) is not None)
    assert of(found, name, **labels) == ends.timestamp()


@pytest.mark.parametrize("text", ["nginx", "nginx:", ":443", "nginx:https", "nginx:70000"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not HOST:PORT"):
        parse_endpoint(text)


def test_a_port_in_use_is_refused_by_name(workspace: Workspace, silent_server: int) -> None:
    with pytest.raises(BadInput, match=f"--port {silent_server}: cannot listen on 127.0.0.1: Address already in use"):
        start(workspace, MODEL, "127.0.0.1", silent_server)


def test_the_command_serves_until_it_is_told_to_end(workspace: Workspace) -> None:
    put_all(workspace)
    port = free_port()
    command = [sys.executable, "-c", REGISTERED, "exporter", "--port", str(port)]
    with subprocess.Popen(command, env={**os.environ, "SNN_FUSION_HOME": str(workspace.root)}) as process:
        try:
            until, found = time.monotonic() + 60, None
            while found is None:
                assert time.monotonic() < until and process.poll() is None
                try:
                    found = scraped(f"http://127.0.0.1:{port}/metrics")
                except httpx.TransportError:
                    time.sleep(0.2)
            assert of(found, "backup_ok") == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert json.loads(workspace.path("backups", "state.json").read_text())["backup"]["ok"]
