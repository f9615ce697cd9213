"""`make bench`: the peers go into environments of their own, never into the project's.

benchmarks/run.py [--only binning|encoding|engine|targets|serving|claims|failover] [options: --help after --only]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "scripts"))
from setup import PIP_INSTALL, TORCH, TORCH_CPU_INDEX, package_index, pip_setting  # noqa: E402

UV = str(ROOT / ".venv" / "bin" / "uv")
BINNING, PEERS = ROOT / ".venv-bench", ROOT / ".venv-peers"


def prepare(venv: Path, requirements: Path, torch: bool = False) -> Path:
    """The environment's Python; made anew if the requirements changed since."""
    python, stamp = venv / "bin" / "python", venv / "bench.digest"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"bench: making {venv.name}", flush=True)
    subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], check=True)
    install = [UV, *PIP_INSTALL, "--python", str(python), "--no-deps"]
    if torch:
        install_torch(install)
    subprocess.run([*install, "--require-hashes", *package_index(), "-r", str(requirements)], check=True)
    stamp.write_text(wanted)
    return python


def install_torch(install: list[str]) -> None:
    """The CPU build that the project uses: from a configured folder of wheels, else from PyTorch's index."""
    links = [f"--find-links={folder}" for folder in pip_setting("find-links")]
    if links and subprocess.call([*install, "--no-index", *links, TORCH], stderr=subprocess.DEVNULL) == 0:
        return
    index = ["--index-url", TORCH_CPU_INDEX] if sys.platform == "linux" else []
    subprocess.run([*install, *index, TORCH], check=True)


def binning(_: list[str]) -> int:
    python = prepare(BINNING, HERE / "requirements.txt")
    return subprocess.call([str(python), str(HERE / "bench_binning.py")])


def encoding(_: list[str]) -> int:
    return subprocess.call([sys.executable, str(HERE / "bench_encoding.py")])


def engine(options: list[str]) -> int:
    prepare(PEERS, HERE / "engine" / "requirements.txt", torch=True)
    path = os.pathsep.join([str(HERE), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.call([sys.executable, "-m", "engine", *options], env={**os.environ, "PYTHONPATH": path})


def targets(options: list[str]) -> int:
    return subprocess.call([sys.executable, str(HERE / "bench_targets.py"), *options])


def serving(options: list[str]) -> int:
    return subprocess.call([sys.executable, str(HERE / "serving.py"), *options])


def claims(options: list[str]) -> int:
    return subprocess.call([sys.executable, str(HERE / "claims.py"), *options])


def failover(options: list[str]) -> int:
    return subprocess.call([sys.executable, str(HERE / "failover.py"), *options])


PARTS = {
    "binning": binning,
    "encoding": encoding,
    "engine": engine,
    "targets": targets,
    "serving": serving,
    "claims": claims,
}
ON_A_STACK = {"failover": failover}  # disturb a running stack, so only when asked for


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", choices=[*PARTS, *ON_A_STACK])
    asked, options = parser.parse_known_args()
    if {"-h", "--help"} & set(options) and not asked.only:
        print(__doc__)
        return 0
    return max({**PARTS, **ON_A_STACK}[name](options) for name in ([asked.only] if asked.only else PARTS))


if __name__ == "__main__":
    sys.exit(main())
