"""Alerts for real: Prometheus and Alertmanager of Debian, a workspace in trouble, and who hears of it, and when."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from snn_fusion.registry.tracking import URI
from snn_fusion.workspace import Workspace
from tests.deploy.alerting import ESCALATED_S, Heard, firing, watching
from tests.deploy.certificates import tls_server
from tests.deploy.monitoring import MONITORING, tool
from tests.deploy.pipeline import exporter, free_port, put, put_all, put_backups

TEAM, LEAD = "team@mail.invalid", "lead@mail.invalid"


def until(holds: Callable[[], object], what: object, patience_s: float = 30) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, str(what)
        time.sleep(0.2)


def test_amtool_takes_the_routes() -> None:
    config = str(MONITORING / "alertmanager.yml")
    done = subprocess.run([tool("amtool"), "check-config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("severity", "receivers"), [("critical", "pager,escalation"), ("warning", "team"), ("info", "chat")]
)
def test_each_severity_has_its_receivers(severity: str, receivers: str) -> None:
    config = MONITORING / "alertmanager.yml"
    command = [tool("amtool"), "config", "routes", "test", f"--config.file={config}", f"severity={severity}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == receivers


def test_no_secret_is_in_the_configuration() -> None:
    for name in ("alertmanager.yml", "prometheus.yml"):
        text = (MONITORING / name).read_text()
        for key in ("smtp_auth_password:", "api_url:", "slack_api_url:", "credentials:", "password:"):
            assert key not in text


def test_alerts_fire_reach_who_should_hear_them_and_end(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry is down, so are all replicas and the node exporter; a backup failed, the drill is nine days old, an
    evaluation is damaged, and the certificate ends in two days. Later the record of promotions is altered, and mended.
    """
    monkeypatch.setenv(URI, f"http://127.0.0.1:{free_port()}")
    put_all(workspace)
    put_backups(workspace, backup={"ok": False}, drill={"at": (datetime.now(UTC) - timedelta(days=9)).isoformat()})
    put(workspace, "evaluated/evaluation.json", "{")
    heard = Heard()
    down = {"app": [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"], "node": [f"127.0.0.1:{free_port()}"]}
    with (
        tls_server(tmp_path, datetime.now(UTC) + timedelta(days=2)) as port,
        exporter(workspace, tls=(("127.0.0.1", port),)) as metrics,
        watching(tmp_path, {**down, "exporter": [urlsplit(metrics).netloc]}, heard) as prometheus,
    ):
        critical = {"BackupFailed", "CertificateExpires", "NoReplicaReady"}
        warning = {"RestoreDrillLate", "RegistryUnreachable", "WorkspaceUnreadable", "TargetDown", "ServiceDown"}
        expected = {f"{one} critical" for one in critical} | {f"{one} warning" for one in warning}
        until(lambda: expected <= firing(prometheus), f"not all of {expected} fire")

        until(lambda: critical <= heard.paged().keys(), heard)
        record = workspace.path("promotions.jsonl")
        whole = record.read_text()
        record.write_text(whole.replace('"promoted": true', '"promoted": false'))
        until(lambda: "PromotionRecordAltered" in heard.paged(), heard)
        record.write_text(whole)  # before anybody else is called
        mended = time.time()
        until(lambda: all(one in heard.mailed(TEAM) for one in warning - {"ServiceDown"}), heard)
        until(lambda: "BackupFailed" in heard.chat() or "The last backup failed" in heard.chat(), heard)
        until(lambda: "The last backup failed" in heard.mailed(LEAD), heard)

        put_backups(workspace)
        until(lambda: {"BackupFailed", "PromotionRecordAltered"} <= heard.paged("resolved").keys(), heard)
        until(lambda: time.time() > mended + ESCALATED_S + 3, "")

    told = heard.paged()["CertificateExpires"]
    assert told["annotations"]["summary"].startswith(f"The certificate of 127.0.0.1:{port} ends in 1d 23h")
    assert all(headers["Authorization"] == "Bearer a secret" for _, path, headers, _ in heard.web if path == "/pager")
    assert told["annotations"]["runbook_url"] == "docs/runbooks/CertificateExpires.md"
    # What was mended in time is not escalated; what burns on is, but not before its time.
    assert "record of promotions" not in heard.mailed(LEAD)
    began = datetime.fromisoformat(heard.paged()["BackupFailed"]["startsAt"]).timestamp()
    mails = [at for at, to, subject, _ in heard.mail if to == LEAD and "The last backup failed" in subject]
    assert min(mails) - began > ESCALATED_S - 0.1
    # What follows from another alert, or is said by a more severe one, is not told.
    everything = heard.mailed(TEAM) + heard.mailed(LEAD) + heard.chat() + str(heard.paged())
    assert "ServiceDown" not in everything
    assert "CertificateExpires" not in heard.mailed(TEAM)
