"""The Secrets of an installation: complete, of one mind, and the same whenever they are made from the same folder."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.fernet import Fernet

from snn_fusion.serving.keys import read_keys
from snn_fusion.serving.settings import TOKEN_LENGTH
from tests.deploy.k8s_objects import K8S, ROOT, dev, pods, task, values

Files = dict[str, dict[str, str]]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(K8S / "secrets" / "make.py"), str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def secrets(done: subprocess.CompletedProcess[str]) -> Files:
    assert done.returncode == 0, done.stderr
    return {
        one["metadata"]["name"]: {name: base64.b64decode(value).decode() for name, value in one["data"].items()}
        for one in json.loads(done.stdout)["items"]
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state") / "secrets"


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    return secrets(run(folder, "--host", "snn.example.com"))


def test_every_secret_that_is_used_is_made(files: Files) -> None:
    every = [*pods(dev()).values(), task()]
    mounted = {v["secret"]["secretName"] for pod in every for v in pod["spec"]["volumes"] if "secret" in v}
    chart = values()
    named = {chart["data"]["metadataSecretName"], *(chart[f"{one}SecretName"] for one in ("fernetKey", "apiSecretKey"))}
    assert mounted | named | {chart["jwtSecretName"], "airflow-users", "tls"} == set(files)


def test_the_service_gets_public_keys_and_a_token_that_it_takes(files: Files, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(files["app"]["keys.json"])
    (kid,) = read_keys(path)
    assert json.loads((folder / f"{kid}.private.json").read_text())["d"] not in json.dumps(files)
    assert len(files["app"]["metrics_token"].strip()) >= TOKEN_LENGTH


def test_both_sides_have_the_same_password(files: Files) -> None:
    redis = re.match(r"redis://:(.+)@redis:6379", files["app"]["redis_url"])
    assert redis and files["redis"]["redis.conf"] == f"requirepass {redis[1]}\n"
    for secret, role in (("mlflow", "mlflow"), ("search", "optuna")):
        password = files["postgres"][f"postgres_{role}"]
        assert files[secret]["pgpass"] == f"*:*:{role}:{role}:{password}\n"
    airflow = files["postgres"]["postgres_airflow"]
    assert f"//airflow:{airflow}@postgres" in files["airflow-database"]["connection"]


def test_nobody_gets_a_password_that_is_not_theirs(files: Files) -> None:
    for role in ("airflow", "mlflow", "optuna", "postgres"):
        password = files["postgres"][f"postgres_{role}"]
        holders = {name for name, of in files.items() if any(password in text for text in of.values())}
        own = {"airflow": {"airflow-database"}, "mlflow": {"mlflow"}, "optuna": {"search"}, "postgres": set()}
        assert holders == {"postgres"} | own[role]


def test_airflow_can_use_its_keys(files: Files) -> None:
    Fernet(files["airflow-fernet"]["fernet-key"].encode())
    assert set(json.loads(files["airflow-users"]["passwords.json"])) == {"admin"}
    assert files["airflow-api"]["api-secret-key"] != files["airflow-jwt"]["jwt-secret"]


def test_the_certificate_names_the_host(files: Files) -> None:
    certificate = x509.load_pem_x509_certificate(files["tls"]["tls.crt"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "snn.example.com" in names.get_values_for_type(x509.DNSName)


def test_the_same_folder_gives_the_same_secrets(files: Files, folder: Path) -> None:
    assert secrets(run(folder, "--host", "snn.example.com")) == files


def test_another_folder_gives_others(files: Files, tmp_path: Path) -> None:
    others = secrets(run(tmp_path / "secrets"))
    assert not [(s, f) for s, of in files.items() for f, text in of.items() if others[s][f] == text]


def test_a_certificate_of_another_host_is_refused_with_nothing_printed(files: Files, folder: Path) -> None:
    done = run(folder, "--host", "other.example.com")
    assert done.returncode == 2
    assert "other.example.com" in done.stderr and not done.stdout
