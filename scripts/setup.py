"""Make `.venv` from requirements.lock: `python3 scripts/setup.py`. Does nothing when it is already up to date.

Standard library only, because it runs before anything is installed. May be killed at any moment (an environment
that was not finished is built anew) and run twice at once (the second one waits).
"""

import contextlib
import fcntl
import hashlib
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
# Bytecode is written here, once. Otherwise the first start of each program does it, and every start where Python may
# not write (PYTHONDONTWRITEBYTECODE, read-only disks), which doubles the time of a short command.
PIP_INSTALL = ("pip", "install", "--quiet", "--compile-bytecode")
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_SPACE = 10 * 10**9  # bytes: PyPI's build for Linux comes with NVIDIA's libraries
CUDA_COST = (
    f"{TORCH} cannot be had from {TORCH_CPU_INDEX}; installing PyPI's build, for CUDA. It runs on the CPU too, "
    "but downloads several GB of NVIDIA's libraries with it, which stand in no lock: their versions are PyPI's newest "
    "that fit, and no hash is checked. To avoid this, put the CPU wheel into a folder and set pip's find-links to it"
)
INPUTS = (LOCK, ROOT / "pyproject.toml", Path(__file__))
SUPPORTED = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
SPACE = 3 * 10**9  # bytes that .venv takes


def say(text):
    print(f"setup: {text}", flush=True)


def refuse(text):
    raise SystemExit(f"setup: {text}")


def succeeds(*command):
    quiet = subprocess.DEVNULL
    return subprocess.call([str(c) for c in command], stdout=quiet, stderr=quiet) == 0


def run(*command):
    """Run quietly; show everything only if it fails."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        refuse(f"`{' '.join(str(c) for c in command)}` failed:\n{done.stdout}")


def digest():
    """Of all that decides what is installed. The environment's own Python counts, not the one running this."""
    state = hashlib.sha256((VENV / "pyvenv.cfg").read_bytes())
    for path in INPUTS:
        state.update(path.read_bytes())
    return state.hexdigest()


def up_to_date():
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == digest()


def find_python():
    """A supported interpreter that can make environments: the one running this if it fits, else one on PATH."""
    for name in (sys.executable, "python3.12", "python3.11"):
        path = shutil.which(name)
        if path and succeeds(path, "-c", SUPPORTED):
            if succeeds(path, "-c", "import ensurepip, venv"):
                return path
            refuse(f"{path} cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv")
    found = ".".join(str(n) for n in sys.version_info[:2])
    refuse(f"needs Python 3.11 or 3.12, found {found}; on Debian or Ubuntu: apt install python3 python3-venv")


def make_environment():
    free = shutil.disk_usage(ROOT).free
    if free < SPACE and not VENV.exists():
        refuse(f"needs {SPACE / 1e9:.0f} GB for .venv, {free / 1e9:.1f} GB are free at {ROOT}")
    python = find_python()
    say("making .venv")
    run(python, "-m", "venv", "--clear", VENV)


def pip_setting(name):
    """Values of one of pip's settings, from its files and its environment variable."""
    asked = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    values = re.findall(rf"^(?:global|install|:env:)\.{name}='(.*)'$", asked, re.M)
    return list(dict.fromkeys(" ".join(values).replace("\\n", " ").split()))


def package_index():
    """uv does not read pip's configuration, so a mirror set there is passed on.

    Only that one: uv takes a version from the first index that has it, so an extra index that holds a poorer wheel
    (one without its compiled library, say) would win over the one that has them all.
    """
    return [f"--index-url={url}" for url in pip_setting("index-url")[:1]]


def install_torch():
    """The CPU build: from a configured folder of wheels, else from PyTorch's index. Where neither has it, PyPI's or its
    mirror's build, with the libraries of CUDA, without which it cannot be imported."""
    asked = f"from importlib.metadata import version; assert version('torch').split('+')[0] == '{TORCH[7:]}'"
    if succeeds(PYTHON, "-c", asked):
        return
    with_its_own = [VENV / "bin" / "uv", *PIP_INSTALL, "--python", PYTHON]
    uv = [*with_its_own, "--no-deps"]
    links = [f"--find-links={folder}" for folder in pip_setting("find-links")]
    if links and succeeds(*uv, "--no-index", *links, TORCH):
        return
    if sys.platform != "linux":
        run(*uv, *package_index(), TORCH)
    elif not succeeds(*uv, "--index-url", TORCH_CPU_INDEX, TORCH):
        free = shutil.disk_usage(ROOT).free
        if free < CUDA_SPACE:
            refuse(f"{CUDA_COST}. That needs {CUDA_SPACE / 1e9:.0f} GB, {free / 1e9:.1f} GB are free at {ROOT}")
        say(CUDA_COST)
        run(*with_its_own, *package_index(), TORCH)


def install():
    if not shutil.which("git"):
        refuse("git is not installed; on Debian or Ubuntu: apt install git")
    if PYTHON.exists() and STAMP.exists():
        STAMP.unlink()
    else:  # nothing there, or what a killed setup left
        make_environment()
    count = len(re.findall(r"^[a-z].*==", LOCK.read_text(), re.M))
    say(f"installing {count} locked packages (a minute or two the first time)")
    run(PYTHON, "-m", "pip", "install", "--quiet", UV)
    install_torch()  # first, so that nothing below can pull a CUDA build in
    uv_install = [VENV / "bin" / "uv", *PIP_INSTALL, "--python", PYTHON, "--no-deps"]
    run(*uv_install, *package_index(), "--require-hashes", "-r", LOCK)
    run(*uv_install, *package_index(), "--editable", ROOT)
    STAMP.write_text(digest())
    say("done; .venv/bin/snn-fusion --help")


@contextlib.contextmanager
def alone():
    """One setup of this checkout at a time; a killed one lets go by itself."""
    with Path(__file__).open() as this:
        try:
            fcntl.flock(this, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup is at work; waiting for it")
            fcntl.flock(this, fcntl.LOCK_EX)
        yield


def main():
    if up_to_date():
        return
    with alone():
        if not up_to_date():
            install()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        refuse("stopped; run it again to go on")
