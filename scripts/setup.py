"""Make `.venv` from requirements.lock: `python3 scripts/setup.py`. Does nothing when it is already up to date.

Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.digest"
LOCK = ROOT / "requirements.lock"
UV = "uv==0.13.9"
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INPUTS = (LOCK, ROOT / "pyproject.toml", Path(__file__))


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def refuse(text: str) -> None:
    raise SystemExit(f"setup: {text}")


def run(*command: str | Path) -> None:
    """Run quietly; show everything only if it fails."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        refuse(f"`{' '.join(str(c) for c in command)}` failed:\n{done.stdout}")


def digest() -> str:
    state = hashlib.sha256(sys.version.encode())
    for path in INPUTS:
        state.update(path.read_bytes())
    return state.hexdigest()


def find_python() -> str:
    """The newest supported interpreter: this one if it fits, else python3.12 or python3.11 on PATH."""
    for name in (sys.executable, "python3.12", "python3.11"):
        path = shutil.which(name)
        test = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
        if path and subprocess.run([path, "-c", test], capture_output=True).returncode == 0:
            if subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True).returncode:
                refuse(f"{path} cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv")
            return path
    refuse("needs Python 3.11 or 3.12; on Debian or Ubuntu: apt install python3 python3-venv")
    raise AssertionError  # refuse() raises


def find_links() -> list[str]:
    """uv does not read pip's configuration, so a configured folder of wheels is passed on."""
    asked = subprocess.run(
        [PYTHON, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True
    ).stdout
    folders = dict.fromkeys((os.environ.get("PIP_FIND_LINKS", "") + " " + asked).split())
    return [f"--find-links={folder}" for folder in folders]


def install_torch() -> None:
    """The CPU build: from a configured folder of wheels, else from PyTorch's index (PyPI's build brings CUDA)."""
    uv = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--no-deps", "--python", PYTHON]
    links = find_links()
    local = [*uv, "--no-index", *links, TORCH]
    if links and subprocess.run([str(c) for c in local], capture_output=True).returncode == 0:
        return
    index = ["--index-url", TORCH_CPU_INDEX] if sys.platform == "linux" else []
    run(*uv, *index, TORCH)


def main() -> None:
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == digest():
        return
    if not shutil.which("git"):
        refuse("git is not installed; on Debian or Ubuntu: apt install git")
    STAMP.unlink(missing_ok=True)
    if not PYTHON.exists():
        say("making .venv")
        run(find_python(), "-m", "venv", "--clear", VENV)
    say(f"installing {len(re.findall(r'^[a-z].*==', LOCK.read_text(), re.M))} locked packages (about a minute)")
    run(PYTHON, "-m", "pip", "install", "--quiet", UV)
    # Installed first, so that nothing below can pull a CUDA build in.
    install_torch()
    uv_install = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", PYTHON]
    run(*uv_install, "--no-deps", "--require-hashes", "-r", LOCK)
    run(*uv_install, "--no-deps", "--editable", ROOT)
    STAMP.write_text(digest())
    say("done; .venv/bin/snn-fusion --help")


if __name__ == "__main__":
    main()
