"""What `snn-fusion up` makes before it starts anything: secrets, a certificate, nginx's files; and what it refuses."""

from __future__ import annotations

import datetime
import json
import stat
from pathlib import Path

import pytest

from snn_fusion.deploy import certificate, secret_files, site
from snn_fusion.deploy.options import Options
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.errors import BadInput
from snn_fusion.serving.keys import read_keys, read_signing_key


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    secret_files.make(folder)
    certificate.settle(folder, "snn.example.org", None)
    return folder


def test_every_secret_is_random_readable_by_its_owner_only_and_kept(secrets: Path, tmp_path: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert secret_files.make(secrets) == []
    certificate.settle(secrets, "snn.example.org", None)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    secret_files.make(tmp_path / "other")
    again = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    others = ("alert_smtp_password", "alert_webhook_token", "alert_chat_url")  # not ours to make up: their owner's
    assert [name for name, content in again.items() if content == before[name]] == sorted(others, key=list(again).index)


def test_the_files_of_one_secret_agree(secrets: Path) -> None:
    def text(name: str) -> str:
        return (secrets / name).read_text().strip()

    assert f":{text('postgres_mlflow')}" in text("pgpass_mlflow")
    assert text("redis.conf").removeprefix("requirepass ") in text("redis_url")
    assert json.loads(text("airflow_passwords.json")) == {"admin": text("admin_password")}
    kid, _ = read_signing_key(secrets / "stack.private.json")
    assert list(read_keys(secrets / "keys.json")) == [kid]


@pytest.mark.parametrize("name", ["postgres_airflow", "metrics_token", "backup_password"])
def test_a_weak_secret_is_refused_by_name_and_nothing_is_changed(secrets: Path, name: str) -> None:
    (secrets / name).write_text("12345")
    (secrets / "htpasswd").unlink()
    with pytest.raises(BadInput, match=rf"{name}: is too weak: 5 characters"):
        secret_files.make(secrets)
    assert not (secrets / "htpasswd").exists()


def test_a_redis_without_a_password_is_refused(secrets: Path) -> None:
    (secrets / "redis.conf").write_text("maxmemory 1gb\n")
    with pytest.raises(BadInput, match=r"redis\.conf: sets no password"):
        secret_files.make(secrets)


def test_a_secret_that_others_can_read_is_refused(secrets: Path) -> None:
    (secrets / "keys.json").chmod(0o644)
    with pytest.raises(BadInput, match=r"keys\.json: holds a secret that others .* \(chmod 600"):
        secret_files.make(secrets)


def test_a_certificate_is_for_its_host_and_loopback(secrets: Path) -> None:
    certificate.check(secrets, "snn.example.org", None)
    certificate.check(secrets, "localhost", None)
    with pytest.raises(BadInput, match=r"is for snn\.example\.org, localhost, 127\.0\.0\.1, not for other\.org"):
        certificate.check(secrets, "other.org", None)


def test_a_certificate_that_is_over_is_refused(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return super().now(tz) + datetime.timedelta(days=500)

    monkeypatch.setattr(certificate.datetime, "datetime", Later)
    with pytest.raises(BadInput, match=r"tls\.crt: ended on "):
        certificate.check(secrets, "localhost", None)


def test_a_certificate_of_another_key_or_none_at_all_is_refused(secrets: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certificate.settle(other, "snn.example.org", None)
    with pytest.raises(BadInput, match="is not of the key that was given with it"):
        certificate.check(secrets, "snn.example.org", (secrets / "tls.crt", other / "tls.key"))
    with pytest.raises(BadInput, match="is not a certificate in PEM form"):
        certificate.check(secrets, "snn.example.org", (secrets / "tls.key", secrets / "tls.key"))
    with pytest.raises(BadInput, match="cannot be read"):
        certificate.check(secrets, "snn.example.org", (tmp_path / "none", tmp_path / "none"))


def test_a_given_certificate_takes_the_place_of_the_self_signed_one(secrets: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certificate.settle(other, "snn.example.org", None)
    certificate.settle(secrets, "snn.example.org", (other / "tls.crt", other / "tls.key"))
    assert (secrets / "tls.crt").read_bytes() == (other / "tls.crt").read_bytes()


def test_nginx_gets_each_replica_and_leaves_out_one_that_is_replaced(tmp_path: Path) -> None:
    site.write(tmp_path, Options(metrics_from=("10.0.0.0/8",), trusted_proxies=("192.0.2.1/32",), https_port=8443))
    both = (tmp_path / "upstream.conf").read_text()
    assert "172.31.240.11:8080 max_fails=1" in both and "172.31.240.12:8080" in both
    assert (tmp_path / "metrics.conf").read_text() == "allow 10.0.0.0/8;\n"
    assert "set_real_ip_from 192.0.2.1/32;" in (tmp_path / "site.conf").read_text()
    site.write(tmp_path, Options(), Live(out=("app-1",)))
    assert "172.31.240.11" not in (tmp_path / "upstream.conf").read_text()
    assert "real_ip" not in (tmp_path / "site.conf").read_text()
