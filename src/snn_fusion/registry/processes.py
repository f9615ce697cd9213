"""Child processes that never outlive the command that started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import psutil

ALONE = ("-P",)  # for Python: run nothing that happens to lie in the current folder under a module's name


def launch(
    command: Sequence[str], env: Mapping[str, str], output: int | IO[str] | IO[bytes] = subprocess.PIPE
) -> subprocess.Popen[str]:
    """A process that leads a session of its own, stdout and stderr in one stream."""
    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], output: int | IO[str] | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A process as `launch` makes it; ended with its descendants after the block."""
    process = launch(command, env, output)
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
    end_all(_family(pid), patience_s)


def end_all(processes: Sequence[psutil.Process], patience_s: float = 5.0) -> None:
    """Terminate these processes; kill those that stay after a while, with what they started meanwhile."""
    family = list(processes)
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(one)
        _, alive = psutil.wait_procs(family, timeout=patience_s)
        family = [one for parent in alive for one in _family(parent.pid)]


def started(pid: int) -> float | None:
    """When a process began, which tells it from a later one with the same number; None if it is gone."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def left_of(pid: int, since: float) -> list[psutil.Process]:
    """The process `pid` that began at `since`, if it still runs, the members of its session, and their descendants.

    Of a process that was made the leader of a session (`running` does so). Members outlive a leader that was killed.
    """
    now = started(pid)
    if now is not None and now != since:
        return []  # another process has the number, and the session is its own
    found: dict[int, psutil.Process] = {}
    for one in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(one.pid) == pid and one.create_time() >= since:
                found |= {member.pid: member for member in _family(one.pid)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
