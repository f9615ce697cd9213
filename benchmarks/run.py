"""`make bench`: the peers go into `.venv-bench`, never into the project's own environment."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "scripts"))
from setup import package_index  # noqa: E402

VENV = ROOT / ".venv-bench"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "bench.digest"
REQUIREMENTS = HERE / "requirements.txt"


def prepare() -> None:
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("bench: making .venv-bench", flush=True)
    uv = str(ROOT / ".venv" / "bin" / "uv")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--no-deps", "--require-hashes"]
    subprocess.run([*install, *package_index(), "-r", str(REQUIREMENTS)], check=True)
    STAMP.write_text(wanted)


def main() -> int:
    prepare()
    binning = subprocess.call([str(PYTHON), str(HERE / "bench_binning.py")])
    return binning or subprocess.call([sys.executable, str(HERE / "bench_encoding.py")])


if __name__ == "__main__":
    sys.exit(main())
