"""Worker processes that use all cores and never outlive the command that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess

SAFE_PATH = "PYTHONSAFEPATH"


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Processes that are started meanwhile begin with no modules of the current folder; others are not concerned."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


class _Process(SpawnProcess):
    def start(self) -> None:
        with _safe_path():
            super().start()


class _Context(SpawnContext):
    Process = _Process


def worker_pool(tasks: int) -> ProcessPoolExecutor:
    """A pool of a process a core, or a task where there are fewer.

    spawn: forking a process whose libraries run threads can hang.
    """
    processes = max(1, min(os.cpu_count() or 1, tasks))
    with _safe_path():  # its resource tracker starts here
        return ProcessPoolExecutor(processes, mp_context=_Context(), initializer=_leave_with_parent)


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
