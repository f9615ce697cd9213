"""The stack's secrets: files of mode 600, made at random on the first `up`, mounted into the containers that need them.

A file that is there is never changed, so that a secret can be brought along; one that is too short or can be read by
others is refused by name.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path

from snn_fusion.errors import BadInput
from snn_fusion.serving.keys import make_key
from snn_fusion.workspace import disk_errors

LEAST = 16  # characters of a password that somebody brought along
ROLES = ("postgres", "airflow", "mlflow", "optuna", "monitor", "backup")
KID = "stack"
ROOT_USER = 10001  # who the containers run as where root makes the stack


def user_id() -> int:
    """Who owns the secrets and runs in the containers: whoever makes the stack, but never root."""
    return os.getuid() or ROOT_USER


def make(folder: Path) -> list[str]:
    """Make what is missing; the names of what was made. Raises BadInput for a secret that is weak or open to others."""
    check(folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        return _make(folder)


def check(folder: Path) -> None:
    """Raises BadInput for a secret that is weak or open to others; what is missing is none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file():
            _check(path)


def hand_over(folder: Path) -> None:
    """Make the containers' user the owner, where that is not who makes the stack."""
    for path in (folder, *folder.iterdir()):
        if os.getuid() == 0:
            os.chown(path, user_id(), user_id())


def _make(folder: Path) -> list[str]:
    made = []

    def file(name: str, content: str) -> str:
        path = folder / name
        if not path.exists():
            write_secret(path, content)
            made.append(name)
        return path.read_text()

    for role in ROLES:
        file(f"postgres_{role}", _password())
    for name in ("redis", "broker"):
        file(f"{name}.conf", f"requirepass {_password()}\n")
    redis, broker = (_required(folder / f"{name}.conf") for name in ("redis", "broker"))
    file("redis_url", f"redis://:{redis}@redis:6379/0")
    file("broker_url", f"redis://:{broker}@broker:6379/0")
    exporter = {f"redis://{name}:6379": word for name, word in (("redis", redis), ("broker", broker))}
    file("redis_exporter.json", json.dumps(exporter))
    airflow, mlflow, optuna = ((folder / f"postgres_{role}").read_text().strip() for role in ROLES[1:4])
    file("pgpass_airflow", f"*:*:airflow:airflow:{airflow}\n*:*:optuna:optuna:{optuna}\n*:*:mlflow:mlflow:{mlflow}\n")
    file("pgpass_mlflow", f"*:*:mlflow:mlflow:{mlflow}\n")
    file("pgpass_backup", f"*:*:*:backup:{(folder / 'postgres_backup').read_text().strip()}\n")
    file("metrics_token", _password())
    file("backup_password", _password())
    file("airflow_jwt", _password())
    file("airflow_fernet", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    for name in ("smtp_password", "webhook_token", "chat_url"):
        file(f"alert_{name}", "unset\n")  # docker/monitoring/README.md: whoever shall hear of alerts is set there
    admin = file("admin_password", _password())
    file("airflow_passwords.json", json.dumps({"admin": admin}))
    file("htpasswd", f"admin:{_salted(admin)}\n")
    if not (folder / "keys.json").exists():
        make_key(folder, KID, "EdDSA")
        made += [f"{KID}.private.json", "keys.json"]
    return made


def _password() -> str:
    return secrets.token_urlsafe(32)


def _salted(password: str) -> str:
    """In nginx's own form. A fast hash does for a password of 256 random bits."""
    salt = secrets.token_bytes(16)
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


def _required(path: Path) -> str:
    for line in path.read_text().splitlines():
        if line.startswith("requirepass "):
            return line.removeprefix("requirepass ").strip()
    raise BadInput(path, "sets no password", "write a line `requirepass PASSWORD`, or delete the file")


def write_secret(path: Path, content: str) -> None:
    """In one piece, and never readable for others, not even for a moment."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(content)
    part.replace(path)


def _check(path: Path) -> None:
    """Raises BadInput."""
    if path.stat().st_mode & 0o077:
        raise BadInput(path, "holds a secret that others on this computer may read or change", f"chmod 600 {path}")
    if path.name.startswith("postgres_") or path.name in ("metrics_token", "backup_password", "airflow_jwt"):
        length = len(path.read_text().strip())
    elif path.name in ("redis.conf", "broker.conf"):
        length = len(_required(path))
    else:
        return
    if length < LEAST:
        remedy = f"{LEAST} or more characters, drawn at random; delete the file, and `snn-fusion up` makes one"
        raise BadInput(path, f"is too weak: {length} characters", remedy)
