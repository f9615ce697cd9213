"""Worker processes that use all cores and never outlive the command that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def worker_pool(tasks: int) -> ProcessPoolExecutor:
    """A pool of a process a core, or a task where there are fewer.

    spawn: forking a process whose libraries run threads can hang.
    """
    processes = max(1, min(os.cpu_count() or 1, tasks))
    os.environ["PYTHONSAFEPATH"] = "1"  # else they begin with the modules in the current folder
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_with_parent)


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
