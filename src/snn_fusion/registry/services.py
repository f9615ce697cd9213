"""Processes that are started again when they end, and what is on record of them in case we are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.log_files import RotatingLog
from snn_fusion.registry.processes import end_all, launch, left_of, started
from snn_fusion.workspace import disk_errors, write_atomic

MOST_S = 60.0  # between two starts
STEADY_S = 60.0  # after so long, an end counts as the first again


class Service:
    """A process of its own session, its output in a rotating log. Ended, with all it started, by `stop`."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log_file: Path) -> None:
        self.name, self.log_file = name, log_file
        self._command, self._env, self._log = command, env, RotatingLog(log_file)
        self._ends = 0
        self._due: float | None = None  # when it is started again
        self._process: subprocess.Popen[str]
        self.since = 0.0
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        self._process = launch(self._command, self._env)
        self._started_at, self._due = time.monotonic(), None
        self.since = started(self.pid) or time.time()
        threading.Thread(target=self._copy, args=(self._process,), daemon=True).start()

    def _copy(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self._log.write(line)

    def check_alive(self) -> None:
        """Raises SnnFusionError with the end of its log if it has ended."""
        if (code := self._process.poll()) is not None:
            time.sleep(0.2)  # its last words may still be on the way
            tail = "\n".join(self.log_file.read_text(errors="replace").splitlines()[-20:])
            raise SnnFusionError(f"{self.name} ended {how(code)}; the end of {self.log_file}:\n{tail}")

    def keep_alive(self) -> str | None:
        """Start it again if it has ended, later the more often it did; what there is to say of it."""
        now = time.monotonic()
        if self._due is not None:
            if now < self._due:
                return None
            self.start()
            return f"{self.name} runs again, as process {self.pid}"
        code = self._process.poll()
        if code is None:
            return None
        self._ends = 1 if now - self._started_at > STEADY_S else self._ends + 1
        pause = min(2.0 ** (self._ends - 1), MOST_S)
        end_all(left_of(self.pid, self.since))  # what it left would go on with its work beside its successor
        self._due = now + pause
        return f"{self.name} ended {how(code)}; it is started again in {pause:.0f} s ({self.log_file})"

    def stop(self) -> None:
        end_all(left_of(self.pid, self.since))
        self._process.wait()
        self._log.close()


def how(code: int) -> str:
    """What an exit code says."""
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"


class Services:
    """Services that end together, on record in a file until then."""

    def __init__(self, record: Path) -> None:
        self.record = record
        self.all: list[Service] = []

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.all:
            service.stop()
        self.record.unlink(missing_ok=True)

    def add(self, service: Service) -> None:
        self.all.append(service)
        self._write()

    def check_alive(self) -> None:
        for service in self.all:
            service.check_alive()

    def keep_alive(self) -> Iterator[str]:
        for service in self.all:
            if said := service.keep_alive():
                self._write()
                yield said

    def _write(self) -> None:
        mine = {"place": str(self.record.resolve()), "pid": os.getpid(), "since": started(os.getpid())}
        each = [{"name": one.name, "pid": one.pid, "since": one.since} for one in self.all]
        with disk_errors(self.record):
            write_atomic(self.record, json.dumps({**mine, "services": each}))


def end_leftovers(record: Path, command: str) -> list[str]:
    """End the services that a killed `command` left behind; their names.

    A record that came with a copy of a workspace tells of the original's processes, which are none of ours. Raises
    BadInput if the process that wrote the record still runs.
    """
    try:
        content = json.loads(record.read_text())
        place = Path(content.get("place", record))
        owner, since = int(content["pid"]), content["since"]
        services = [(str(one["name"]), int(one["pid"]), float(one["since"])) for one in content["services"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        services, owner, since, place = [], 0, None, record
    if place.resolve() != record.resolve() and place.exists():
        record.unlink()
        return []
    if since is not None and started(owner) == since:
        raise BadInput(command, f"is already running, as process {owner}", f"end that one first: kill {owner}")
    ended = []
    for name, pid, began in services:
        if left := left_of(pid, began):
            end_all(left)
            ended.append(name)
    record.unlink(missing_ok=True)
    return ended
