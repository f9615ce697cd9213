"""Messages to people: what they get, by mail and web hook, and that nothing goes wrong where one cannot be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from snn_fusion.config import Params
from snn_fusion.notify import PREFIX, notify
from snn_fusion.registry import ledger
from snn_fusion.registry.promote import promote
from snn_fusion.registry.record import RECORD
from snn_fusion.registry.register import register
from snn_fusion.registry.rollback import rollback
from snn_fusion.workspace import Workspace
from tests.deploy.certificates import certificate
from tests.http_server import http_server
from tests.mail_server import mail_server
from tests.registry.conftest import empty_store, params, put_data, put_evaluation, put_network, takes, ws
from tests.serving.running import free_port

__all__ = ["empty_store", "params", "takes", "ws"]  # fixtures


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of anything, until a test says who."""
    for name in ("WEBHOOK", "WEBHOOK_FILE", "MAIL", "MAIL_FROM", "SMTP", "SMTP_USER", "SMTP_PASSWORD_FILE"):
        monkeypatch.delenv(f"{PREFIX}{name}", raising=False)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """What a web hook gets, whose address is in a file; it refuses what is said to be refused."""
    got: list[dict[str, Any]] = []

    def answer(_method: str, path: str, content: bytes) -> tuple[int, bytes]:
        body = json.loads(content)
        got.append(body | {"path": path})
        return 500 if body["text"].startswith("break") else 200, b""

    with http_server(answer) as url:
        (tmp_path / "hook").write_text(f"{url}/hooks/planted-secret\n")
        monkeypatch.setenv(f"{PREFIX}WEBHOOK_FILE", str(tmp_path / "hook"))
        yield got


def test_nothing_is_sent_where_nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "unset").write_text("unset\n")
    monkeypatch.setenv(f"{PREFIX}WEBHOOK_FILE", str(tmp_path / "unset"))
    assert notify("test", "nothing") == []


def test_a_web_hook_gets_the_text_and_what_it_is_about(
    hook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_REQUEST_ID", "order-19")
    assert notify("champion", "digits: version 3 is champion", "better by 2 points", version="3") == []
    assert hook == [
        {
            "text": "digits: version 3 is champion\nbetter by 2 points",
            **{"kind": "champion", "version": "3", "request_id": "order-19", "path": "/hooks/planted-secret"},
        }
    ]


def test_a_mail_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as mails:
        monkeypatch.setenv(f"{PREFIX}SMTP", f"127.0.0.1:{mails.port}")
        monkeypatch.setenv(f"{PREFIX}MAIL", "ada@example.org, team@example.org")
        assert notify("failed", "Airflow: retrain failed\nBcc: evil@example.org", "https://x/run") == []
    (mail,) = mails.messages
    assert mail["Subject"] == "Airflow: retrain failed Bcc: evil@example.org" and mail["Bcc"] is None
    assert mail["To"] == "ada@example.org, team@example.org"
    assert mail.get_content().splitlines() == ["https://x/run", "", "kind: failed"]


def test_a_password_is_sent_by_tls_only_and_to_a_server_whose_certificate_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("right\n")
    monkeypatch.setenv(f"{PREFIX}SMTP_USER", "ada")
    monkeypatch.setenv(f"{PREFIX}SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv(f"{PREFIX}MAIL", "team@example.org")
    files = certificate(tmp_path, datetime.now(UTC) + timedelta(days=1))
    with mail_server(files) as mails:
        monkeypatch.setenv(f"{PREFIX}SMTP", f"localhost:{mails.port}")
        (problem,) = notify("test", "untrusted")
        assert "SSLCertVerificationError" in problem and not mails.logins
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        assert notify("test", "trusted") == []
        assert mails.logins == [("ada", "right", True)] and mails.messages[0]["Subject"] == "trusted"
        (tmp_path / "password").write_text("planted-password")
        assert notify("test", "wrong") == ["a notification could not be sent by mail: SMTP 535"]
    with mail_server() as open_server:
        monkeypatch.setenv(f"{PREFIX}SMTP", f"localhost:{open_server.port}")
        (problem,) = notify("test", "no TLS")
        assert "offers no TLS" in problem and not open_server.logins
    assert "planted" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("how", ["json", ""])
def test_what_cannot_be_sent_is_a_warning_without_the_secret_address(
    hook: list[dict[str, Any]], how: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNN_FUSION_LOG", how)
    monkeypatch.setenv(f"{PREFIX}MAIL", "team@example.org")
    monkeypatch.setenv(f"{PREFIX}SMTP", f"127.0.0.1:{free_port()}")
    problems = notify("test", "break")
    assert problems == [
        "a notification could not be sent by web hook: HTTP 500",
        "a notification could not be sent by mail: ConnectionRefusedError, Connection refused",
    ]
    assert "planted-secret" not in "".join(problems) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WEBHOOK", "file:///etc/passwd", "SNN_FUSION_NOTIFY_WEBHOOK: is not a URL of http or https"),
        ("WEBHOOK_FILE", "/nowhere", "SNN_FUSION_NOTIFY_WEBHOOK_FILE: /nowhere: No such file"),
        ("SMTP", "mail.example.org", "SNN_FUSION_NOTIFY_SMTP: is 'mail.example.org' (HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_named_and_breaks_nothing(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name}", value)
    (problem,) = notify("test", "anything")
    assert said in problem


def test_people_hear_of_each_new_decision_once_and_a_request_is_on_record(
    ws: Workspace, params: Params, takes: Path, hook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNN_FUSION_REQUEST_ID", "order-20")
    put_data(ws, takes)
    for seed, mistakes in ((1, 40), (2, 10), (3, 300)):
        put_network(ws, params, seed=seed)
        put_evaluation(ws, {"n3": mistakes})
        register(params, ws)
        promote(params, ws)
        promote(params, ws)  # the same question again
    rollback(params, ws)
    assert [(one["kind"], one["version"]) for one in hook] == [
        *(("champion", "1"), ("champion", "2"), ("refused", "3"), ("champion", "1"))
    ]
    assert all(one["request_id"] == "order-20" for one in hook)
    assert {one.body["request_id"] for one in ledger.read(ws.path(RECORD))} == {"order-20"}


def test_a_decision_stands_though_nobody_can_be_told(
    ws: Workspace, params: Params, takes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}WEBHOOK", f"http://127.0.0.1:{free_port()}/x")
    put_data(ws, takes)
    put_network(ws, params, seed=1)
    put_evaluation(ws, {"n3": 10})
    register(params, ws)
    assert promote(params, ws)["promoted"]
