"""The other end of worker.py: start a library's process, ask it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
OURS, LOOP = "SNN-Fusion", "snnTorch"
MODULE = "SNN-Fusion, torch module"  # answers without freezing the network
# Each library's module in peers/ and the environment that has it.
LIBRARIES = {
    "ours": ".venv",
    "snntorch": ".venv-peers",
    "spikingjelly": ".venv-peers",
    "norse": ".venv-peers",
    "sinabs": ".venv-peers",
    "spyx": ".venv-peers",
}
THREADS = 2


class WorkerFailed(Exception):
    """What the library raised, or that its process ended."""


def environment(threads: int = THREADS) -> dict[str, str]:
    """Of a process that measures."""
    path = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    quiet = {"PYTHONWARNINGS": "ignore", "ENGINE_THREADS": str(threads), "TORCH_LOGS": "-all"}
    return {**os.environ, **quiet, "PYTHONPATH": path.rstrip(os.pathsep)}


class Worker:
    """A library in its process. Its standard error goes to a file that is shown if it fails."""

    def __init__(self, library: str, threads: int = THREADS) -> None:
        self.library = library
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        python = ROOT / LIBRARIES[library] / "bin" / "python"
        self.process = subprocess.Popen(
            [str(python), "-m", "engine.worker", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment(threads),
        )

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Send one line, wait for its answer. Raises WorkerFailed."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"its process ended\n{self._last_words()}"}
        if "error" in answer:
            raise WorkerFailed(f"{self.library}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self.log.seek(0)
        return self.log.read()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def workers(libraries: list[str]) -> Iterator[dict[str, Worker]]:
    """One process a library, all there at once so that they can be asked in turns."""
    with contextlib.ExitStack() as stack:
        yield {library: stack.enter_context(Worker(library)) for library in libraries}
