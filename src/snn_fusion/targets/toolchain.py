"""A vendor's SDK at work: its own environment, its own process group, a time limit, and files to speak through."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import SnnFusionError
from snn_fusion.workspace import digest, file_digest, project_root

Array = npt.NDArray[Any]
MARK = "SNN_FUSION_CALL"  # in the environment of all that a call starts
MOST_BYTES = 16 << 30  # of a file that a vendor's process writes
LAST_WORDS = 2000  # characters of what a failed run wrote


class ToolchainMissing(SnnFusionError):
    """The SDK is not installed: its target is unavailable, the others go on."""


class ToolchainFailed(SnnFusionError):
    """The SDK crashed, hung or answered nonsense; its folder is where it lies, and it can be left out."""

    exit_code = 2

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        remedy = f"make toolchains ONLY={name} installs it anew, {name.upper()}=no leaves it out"
        super().__init__(f"{name}: {problem}\n({remedy})")

    def __reduce__(self) -> tuple[type[ToolchainFailed], tuple[str, str]]:
        return type(self), (self.name, self.problem)


class Answer(dict[str, Array]):
    """What a runner answered, by name."""

    def __init__(self, name: str, arrays: Mapping[str, Array]) -> None:
        super().__init__(arrays)
        self.name = name

    def __missing__(self, key: str) -> Array:
        raise ToolchainFailed(self.name, f"its answer lacks {key}; it holds {', '.join(sorted(self)) or 'nothing'}")


def python(name: str) -> Path:
    """The SDK's own interpreter. Raises ToolchainMissing saying how to install it."""
    if os.environ.get(name.upper()) == "no":
        raise ToolchainMissing(f"{name}: left out ({name.upper()}=no)")
    found = project_root() / "toolchains" / name / ".venv" / "bin" / "python"
    if not found.exists():
        raise ToolchainMissing(f"{name}: its toolchain is not installed (make toolchains)")
    return found


def installed(name: str) -> str:
    """Digest of what is installed of an SDK and of the programs that run in it. Raises ToolchainMissing."""
    stamp = python(name).parents[1] / "setup.digest"
    programs = sorted((project_root() / "toolchains" / name).glob("*.py"))
    return digest(stamp.read_text() if stamp.exists() else "by hand", [file_digest(one) for one in programs])


def call(name: str, job: Mapping[str, Array], limit_s: float) -> dict[str, Array]:
    """Run `toolchains/NAME/run.py` on the arrays of `job`; the arrays that it answers with.

    Nothing outlives the call: the process group is killed when it ends, whatever way, and whatever else carries the
    call's mark. No file grows beyond MOST_BYTES. Raises ToolchainMissing, ToolchainFailed with the run's last words.
    """
    interpreter = python(name)
    with tempfile.TemporaryDirectory(prefix=f"snn-fusion-{name}-") as folder:
        work, log = Path(folder), Path(folder, "log.txt")
        np.savez(work / "job.npz", allow_pickle=False, **job)
        runner = project_root() / "toolchains" / name / "run.py"
        mark = f"{MARK}={work.name}"
        with log.open("w") as output:
            child = subprocess.Popen(
                [str(interpreter), str(runner), "job.npz", "result.npz"],
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(work) | {MARK: work.name},
            )
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
            try:
                code: int | None = child.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(child, mark)
        result = work / "result.npz"
        if code is None and not result.exists():
            raise ToolchainFailed(name, f"no answer within {limit_s:g} s\n{_tail(log)}")
        if code not in (0, None) or not result.exists():
            raise ToolchainFailed(name, f"ended with {code}\n{_tail(log)}")
        try:
            with np.load(result, allow_pickle=False) as arrays:
                return Answer(name, arrays)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ToolchainFailed(name, f"its answer cannot be read: {error}\n{_tail(log)}") from error


def _environment(home: Path) -> dict[str, str]:
    """Only what a program needs: no secret of ours reaches a vendor's code, and what it leaves goes with the folder."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS")}
    return {**kept, "HOME": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(home)}


def _end(child: subprocess.Popen[bytes], mark: str) -> None:
    """The whole group, children that it left behind among them, and those that went into a session of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LAST_WORDS:]
