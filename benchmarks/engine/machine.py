"""The machine that the numbers belong to, and how busy others kept it meanwhile."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

import psutil

BUSY = 0.10  # of the cores' time, by others; above, the times say more about them than about the libraries


def describe() -> str:
    """Processor, cores, system, Python."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    name = model[1] if model else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


class Others:
    """The share of the cores' time that other processes took since `Others()`."""

    def __init__(self) -> None:
        self.started, self.busy, self.own = time.monotonic(), _busy(), _own()

    def share(self) -> float:
        passed = (time.monotonic() - self.started) * (psutil.cpu_count() or 1)
        return max(0.0, (_busy() - self.busy - (_own() - self.own)) / max(passed, 1e-9))


def _busy() -> float:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return float(sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))


def _own() -> float:
    """CPU seconds of this process and its children, those that ended included."""
    mine = psutil.Process()
    times = mine.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in mine.children(recursive=True):
        try:
            t = child.cpu_times()
        except psutil.Error:
            continue
        total += t.user + t.system + t.children_user + t.children_system
    return float(total)
