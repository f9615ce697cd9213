"""The set-up: the lock fits the project, nothing is installed twice, every refusal names the remedy."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import types
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "setup.py"
GIT = shutil.which("git")


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the set-up reads, in a folder that has no environment yet."""
    copy = tmp_path / "checkout"
    (copy / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, copy / "scripts")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, copy)
    return copy


def project() -> dict[str, list[Requirement]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "needed": [Requirement(text) for text in table["dependencies"]],
        "dev": [Requirement(text) for text in table["optional-dependencies"]["dev"]],
    }


def locked() -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M):
        found.setdefault(name, set()).add(Version(version))
    return found


def test_lock_holds_every_dependency_within_its_bounds(setup: ModuleType) -> None:
    versions = locked()
    name, version = setup.TORCH.split("==")
    versions[name] = {Version(version)}
    for requirement in [*project()["needed"], *project()["dev"]]:
        assert versions[requirement.name], f"{requirement.name} is not in requirements.lock; run scripts/lock.sh"
        assert all(version in requirement.specifier for version in versions[requirement.name])


def test_every_dependency_has_a_floor() -> None:
    for requirement in [*project()["needed"], *project()["dev"]]:
        assert any(bound.operator == ">=" for bound in requirement.specifier), f"{requirement} has no floor"


def test_every_locked_package_has_a_hash_and_none_brings_cuda() -> None:
    packages = re.split(r"\n(?=[a-z0-9._-]+==)", (ROOT / "requirements.lock").read_text().strip())
    assert all("--hash=sha256:" in package for package in packages)
    cuda = [name for name in locked() if name.startswith(("nvidia", "cuda", "triton", "torch"))]
    assert cuda == ["nvidia-ml-py"]  # asks the driver about GPUs, nothing of CUDA; BentoML wants it


def test_every_dependency_is_justified() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in [*project()["needed"], *project()["dev"]]:
        assert f"`{requirement.name}`" in text, f"docs/dependencies.md does not say why {requirement.name} is there"


def test_second_set_up_is_instant_and_installs_nothing(setup: ModuleType) -> None:
    if not setup.up_to_date():
        pytest.skip("the environment is not one that scripts/setup.py made from this lock")
    before = setup.STAMP.stat().st_mtime_ns
    started = time.monotonic()
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert time.monotonic() - started < 5
    assert setup.STAMP.stat().st_mtime_ns == before


def refusal(checkout: Path, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(checkout / "scripts" / "setup.py")],
        capture_output=True,
        text=True,
        env={"PATH": str(path), "HOME": str(checkout)},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()
    return done.stderr


def test_missing_git_is_named_with_a_remedy(checkout: Path, tmp_path: Path) -> None:
    assert "git is not installed; on Debian or Ubuntu: apt install git" in refusal(checkout, tmp_path)


@pytest.mark.parametrize(
    ("fits", "problem"),
    [
        (True, "cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"),
        (False, "needs Python"),
    ],
)
def test_python_that_does_not_do_is_named_with_a_remedy(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fits: bool, problem: str
) -> None:
    for name in ("python3.11", "python3.12"):
        answer = 'case "$*" in *ensurepip*) exit 1;; esac; exit 0' if fits else "exit 1"
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(setup.sys, "executable", str(tmp_path / "python3.12"))
    with pytest.raises(SystemExit, match=problem):
        setup.find_python()


def test_unfinished_environment_is_built_anew(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a kill leaves has no stamp, and is not trusted."""
    ran: list[str] = []
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("")
    for name, value in {"VENV": venv, "PYTHON": venv / "bin" / "python", "STAMP": venv / "setup.digest"}.items():
        monkeypatch.setattr(setup, name, value)
    monkeypatch.setattr(setup, "run", lambda *command: ran.append(" ".join(str(part) for part in command)))
    monkeypatch.setattr(setup, "install_torch", lambda: None)
    assert not setup.up_to_date()
    setup.install()
    assert f"-m venv --clear {venv}" in ran[0]
    assert setup.up_to_date()
    ran.clear()
    setup.STAMP.write_text("of an earlier lock")
    setup.install()
    assert not any("venv --clear" in command for command in ran)


def test_two_at_once_take_turns(checkout: Path) -> None:
    code = "import sys; sys.path.insert(0, 'scripts'); import setup, time\nwith setup.alone(): {}"
    hold = subprocess.Popen(
        [sys.executable, "-c", code.format("print('in', flush=True); time.sleep(1.5); print('out', flush=True)")],
        cwd=checkout, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert hold.stdout and hold.stdout.readline() == "in\n"
    second = subprocess.run(
        [sys.executable, "-c", code.format("print('in')")], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert second.stdout == "setup: another setup is at work; waiting for it\nin\n"
    assert hold.communicate(timeout=10)[0] == "out\n"


@pytest.fixture
def mirror(tmp_path: Path):
    """A package index on this machine that holds a torch of the locked version, and nothing else."""
    name, wheel = "torch-2.13.0", tmp_path / "index" / "torch" / "torch-2.13.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("torch/__init__.py", "")
        file.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
        file.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}.dist-info/RECORD", "")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "index")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("space", [10**12, 10**9])
def test_where_pytorchs_index_cannot_be_reached_the_mirrors_build_is_installed_and_its_cost_said(
    setup: ModuleType, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, space: int
) -> None:
    uv, venv = shutil.which("uv", path=Path(sys.executable).parent), tmp_path / ".venv"
    if not uv:
        pytest.skip("no uv beside this interpreter")
    subprocess.run([uv, "venv", "--quiet", "--no-config", "--python", sys.executable, venv], check=True)
    (venv / "bin" / "uv").symlink_to(uv)
    for name, value in {"VENV": venv, "PYTHON": venv / "bin" / "python"}.items():
        monkeypatch.setattr(setup, name, value)
    monkeypatch.setattr(setup, "TORCH_CPU_INDEX", "http://127.0.0.1:9/whl/cpu")  # nobody listens
    monkeypatch.setattr(setup, "pip_setting", lambda name: [mirror] if name == "index-url" else [])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=space))
    for name, value in {"UV_HTTP_RETRIES": "0", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    if space < setup.CUDA_SPACE:
        with pytest.raises(SystemExit, match=r"needs 10 GB, 1.0 GB are free"):
            setup.install_torch()
        return
    setup.install_torch()
    said = capsys.readouterr().out
    assert "installing PyPI's build" in said and "no hash is checked" in said and "find-links" in said
    assert setup.succeeds(venv / "bin" / "python", "-c", "import torch")
    setup.install_torch()  # is there
    assert capsys.readouterr().out == ""


def test_make_lists_its_targets() -> None:
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "demo", "ui", "test", "lint", "bench"):
        assert f"make {target} " in done.stdout
