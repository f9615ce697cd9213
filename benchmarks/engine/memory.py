"""Memory that one call needs above what the process held before it."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb(work: Callable[[], None]) -> float:
    """Peak resident memory during `work`, less that before, in MB (10^6 bytes). Linux only.

    Freed memory is given back to the system first, and the kernel's high-water mark set to what is resident, so that
    what happened before (imports, compilation) counts for nothing.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")  # resets VmHWM, see proc(5)
    before = _kb("VmRSS")
    work()
    return (_kb("VmHWM") - before) * 1024 / 1e6


def _kb(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.M)
    assert found
    return int(found[1])
