"""No command runs Python files that lie in the current folder under the name of a module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from snn_fusion.registry.dvc_project import dvc
from snn_fusion.workers import worker_pool
from snn_fusion.workspace import PACKAGE
from tests.planted import plant, was_run


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    plant(tmp_path / "planted")
    return tmp_path / "planted"


def test_what_is_planted_runs_where_python_is_not_told_otherwise(planted: Path) -> None:
    subprocess.run([sys.executable, "-m", "uuid"], cwd=planted, check=True)
    assert was_run(planted)


def test_dvc_runs_nothing_of_its_project(planted: Path) -> None:
    assert "DVC version" in dvc(planted, "version")
    assert not was_run(planted)


def test_worker_processes_run_nothing_of_the_current_folder(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.chdir(planted)
    with worker_pool(1) as pool:
        assert pool.submit(abs, -1).result() == 1
    assert not was_run(planted)


def test_whatever_starts_python_tells_it_so() -> None:
    starts = [
        (file.name, following)
        for file in PACKAGE.rglob("*.py")
        for following in re.findall(r"sys\.executable, ([^,]*),", file.read_text())
    ]
    assert {name for name, _ in starts} >= {"serve.py", "service.py", "registry_routes.py", "dvc_project.py"}
    assert [one for one in starts if one[1] not in ("*ALONE", "command")] == []
