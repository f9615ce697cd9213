"""Make each vendor SDK's own environment, toolchains/NAME/.venv: `python3 scripts/toolchains.py [NAME ...]`.

Does nothing where it is up to date. An SDK that cannot be installed leaves its target unavailable and stops no other;
the script then ends with 1. NAME=no in the environment (AKIDA=no) leaves one out. Needs `make setup` first.
"""

import hashlib
import os
import shutil
import subprocess
import sys

import setup

TOOLCHAINS = setup.ROOT / "toolchains"


def names():
    return sorted(path.parent.name for path in TOOLCHAINS.glob("*/requirements.txt"))


def digest(folder):
    parts = [(folder / "requirements.txt").read_bytes(), (folder / ".venv" / "pyvenv.cfg").read_bytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def up_to_date(folder):
    stamp = folder / ".venv" / "setup.digest"
    return stamp.exists() and stamp.read_text() == digest(folder)


def install(folder):
    """Raises CalledProcessError, OSError."""
    venv, uv = folder / ".venv", setup.VENV / "bin" / "uv"
    if venv.is_symlink():
        venv.unlink()  # to an environment made by hand
    shutil.rmtree(venv, ignore_errors=True)
    notice = folder / "NOTICE"
    if notice.exists():
        print(notice.read_text(), flush=True)
    subprocess.run([uv, "venv", "--quiet", "--python", setup.PYTHON, venv], check=True)
    wanted = ["--require-hashes", "-r", folder / "requirements.txt"]
    command = [uv, *setup.PIP_INSTALL, "--python", venv / "bin" / "python", "--no-deps"]
    subprocess.run([*command, *setup.package_index(), *wanted], check=True)
    (venv / "setup.digest").write_text(digest(folder))


def main():
    asked = sys.argv[1:] or names()
    unknown = sorted(set(asked) - set(names()))
    if unknown:
        setup.refuse(f"no toolchain {', '.join(unknown)}; there are: {', '.join(names())}")
    failed = []
    for name in asked:
        folder = TOOLCHAINS / name
        if os.environ.get(name.upper()) == "no":
            setup.say(f"{name}: left out ({name.upper()}=no)")
            continue
        if up_to_date(folder):
            continue
        setup.say(f"{name}: installing into toolchains/{name}/.venv")
        try:
            install(folder)
        except (subprocess.CalledProcessError, OSError) as error:
            failed.append(name)
            shutil.rmtree(folder / ".venv", ignore_errors=True)  # half of it would pass for installed
            setup.say(f"{name}: not installed, its target is unavailable: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
