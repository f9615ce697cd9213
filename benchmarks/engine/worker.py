"""One library in one process, told what to do line by line: `python -m engine.worker snntorch`.

Reads a JSON object a line from standard input and answers with one on standard output:

    {"do": "about"}                                      -> {"about": versions, "variants": names, "differs": reasons}
    {"do": "load", "variant": NAME, "problem": FILE}     -> {}; builds the network and its input
    {"do": "time", "variant": NAME, "calls": N}          -> {"ms": [...]}, after one call that is not timed
    {"do": "result", "variant": NAME, "file": FILE}      -> {}; writes what the last call computed
    {"do": "peak", "variant": NAME}                      -> {"mb": ...} of one call, above what was there before

or {"error": text}. The environment variable ENGINE_THREADS is the number of threads, and of cores it may run on.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from engine.memory import peak_mb
from engine.workloads import load

THREADS = int(os.environ.get("ENGINE_THREADS", "2"))


def limit_threads() -> None:
    """Before a library is imported. JAX sizes its pool by the cores that the process may use, and by nothing else."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(THREADS)
    # Waiting threads sleep. Spinning ones (the default) were several times slower on two cores that others used too;
    # on a machine of one's own it may be the other way round: set the variable to ACTIVE and compare.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Host:
    def __init__(self, library: str) -> None:
        self.library = importlib.import_module(f"engine.peers.{library}")
        self.runs: dict[str, Any] = {}

    def about(self) -> dict[str, Any]:
        differs = getattr(self.library, "DIFFERS", {})
        return {"about": self.library.about(), "variants": list(self.library.VARIANTS), "differs": differs}

    def load(self, variant: str, problem: str) -> dict[str, Any]:
        self.runs[variant] = self.library.VARIANTS[variant](load(Path(problem)))
        return {}

    def time(self, variant: str, calls: int) -> dict[str, Any]:
        """Milliseconds of each of `calls` calls, garbage collection off."""
        run = self.runs[variant]
        gc.collect()
        gc.disable()
        run()
        taken = []
        for _ in range(calls):
            started = time.perf_counter()
            run()
            taken.append((time.perf_counter() - started) * 1e3)
        gc.enable()
        return {"ms": taken}

    def result(self, variant: str, file: str) -> dict[str, Any]:
        np.savez(file, **self.runs[variant].result())
        return {}

    def peak(self, variant: str) -> dict[str, Any]:
        return {"mb": peak_mb(self.runs[variant])}


def main() -> None:
    limit_threads()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    host = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            host = host or Host(sys.argv[1])
            answer = getattr(host, asked.pop("do"))(**asked)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
