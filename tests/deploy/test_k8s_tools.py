"""scripts/tools.py: .venv-tools is made once, and again when the lock changes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.deploy.k8s_objects import ROOT, script


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with an environment and a lock of its own, and uv that makes an environment's file and no more."""
    made = script("tools")
    venv, lock = tmp_path / ".venv-tools", tmp_path / "requirements.txt"
    lock.write_text("one==1\n")
    monkeypatch.setattr(made, "VENV", venv)
    monkeypatch.setattr(made, "STAMP", venv / "setup.digest")
    monkeypatch.setattr(made, "LOCK", lock)
    monkeypatch.setattr(made.setup, "package_index", list)
    made.calls = []

    def run(command: list[Any], **_: Any) -> None:
        made.calls.append([str(part) for part in command])
        if "venv" in command:
            venv.mkdir()
            (venv / "pyvenv.cfg").write_text("version = 3.11\n")
        elif made.fails:
            raise subprocess.CalledProcessError(1, command)

    made.fails = False
    monkeypatch.setattr(made.subprocess, "run", run)
    return made


def test_the_second_time_does_nothing(tools: ModuleType) -> None:
    assert tools.main() == 0
    assert len(tools.calls) == 2
    assert tools.main() == 0
    assert len(tools.calls) == 2


def test_hashes_are_checked_and_nothing_is_resolved(tools: ModuleType) -> None:
    tools.main()
    assert {"--require-hashes", "--no-deps"} <= set(tools.calls[1])


def test_a_changed_lock_makes_it_anew(tools: ModuleType) -> None:
    tools.main()
    tools.LOCK.write_text("one==2\n")
    tools.main()
    assert len(tools.calls) == 4


def test_what_was_not_finished_does_not_pass_for_installed(
    tools: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    tools.fails = True
    assert tools.main() == 1
    assert not tools.VENV.exists()
    assert "not installed" in capsys.readouterr().out


def test_what_is_asked_for_is_locked() -> None:
    folder = ROOT / "scripts" / "tools"
    asked = {line for line in (folder / "requirements.in").read_text().splitlines() if "==" in line}
    locked = {line.split(" ")[0] for line in (folder / "requirements.txt").read_text().splitlines() if "==" in line}
    assert asked and asked <= locked
