"""Child processes that never outlive the command that started them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import psutil


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], output: int | IO[str] | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A process of its own group, stdout and stderr in one stream; ended with its descendants after the block."""
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process.pid)
        process.wait()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and a closed terminal do what Ctrl-C does, so that whatever is at work is left in order: around every
    command. What is ignored (by nohup, for instance) stays so.
    """
    heard = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def end(pid: int, patience_s: float = 5.0) -> None:
    """Terminate a process and its descendants (Airflow gives each task a session); kill what stays after a while."""
    pids = [pid]
    for act in (psutil.Process.terminate, psutil.Process.kill):
        family = [one for parent in pids for one in _family(parent)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(one)
        _, alive = psutil.wait_procs(family, timeout=patience_s)
        pids = [one.pid for one in alive]


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
