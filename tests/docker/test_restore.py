"""Backups of the stack on a real engine: the database is emptied, a volume is deleted, and all comes back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from snn_fusion.config import Params
from snn_fusion.workspace import Workspace
from tests.docker.conftest import PROJECT, Running, put_champion
from tests.docker.test_core import answering, until

COMPOSE = Path(__file__).resolve().parents[2] / "docker" / "compose.yaml"
pytestmark = pytest.mark.slow


def compose(stack: Running, *arguments: str, content: bytes | None = None) -> str:
    """As docs/backup.md calls it."""
    options = ["--env-file", str(stack.state / "compose.env"), "--file", str(COMPOSE)]
    done = subprocess.run(
        [*stack.docker.compose, *options, *arguments], env=os.environ, input=content, capture_output=True
    )
    assert done.returncode == 0, (done.stderr + done.stdout).decode()[-3000:]
    return done.stdout.decode()


def result(output: str) -> dict[str, object]:
    """The line of JSON that a command ends with."""
    found: dict[str, object] = json.loads(output.strip().splitlines()[-1])
    return found


def put_workspace(stack: Running, ws: Workspace) -> None:
    """Copy a workspace of this host into the stack's volume."""
    packed = subprocess.run(["tar", "-C", str(ws.root), "-c", "."], capture_output=True, check=True).stdout
    unpack = ("tar", "-C", "/workspace", "--no-same-owner", "-x", "--no-overwrite-dir")
    compose(stack, "exec", "-T", "backup", *unpack, content=packed)


def test_an_emptied_database_and_a_deleted_volume_come_back(
    stack: Running, registry: Workspace, params: Params
) -> None:
    done = stack.up("--profile", "backup")
    assert done.returncode == 0, done.stderr[-3000:]
    if answering(stack) == {"503"}:
        put_champion(registry, params, 1)
    until(lambda: "503" not in answering(stack), 180)
    (version,) = answering(stack)
    put_workspace(stack, registry)
    made = result(compose(stack, "exec", "-T", "backup", "snn-fusion", "backup", "--json"))
    assert (made["champion"], made["verified"]) == (version, True)
    tried = result(compose(stack, "exec", "-T", "backup", "snn-fusion", "drill", "--json"))
    assert tried["champion"] == version

    empty = ("psql", "-h", "/tmp", "-U", "postgres", "-d", "mlflow", "-c", "DROP OWNED BY mlflow CASCADE")
    compose(stack, "exec", "-T", "postgres", *empty)
    compose(stack, "stop")
    compose(stack, "rm", "--force", "backup")
    stack.docker.run("volume", "rm", f"{PROJECT}_workspace")
    restored = result(compose(stack, "run", "--rm", "-T", "restore", "--replace", "--json"))
    assert restored["champion"] == version and "as when it was backed up" in str(restored["answers"])
    done = stack.up("--profile", "backup")
    assert done.returncode == 0, done.stderr[-3000:]
    until(lambda: answering(stack) == {version}, 180)
    assert result(compose(stack, "exec", "-T", "backup", "snn-fusion", "backup", "--json"))["champion"] == version
