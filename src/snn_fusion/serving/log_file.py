"""A log of bounded size: one thread writes what all processes of a service say, so that nobody else ever renames it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors

SIZE = 16 * 2**20  # bytes of a file
KEPT = 3  # older files: NAME.1 is the newest of them
END_S = 5.0  # for what was said last


@contextlib.contextmanager
def rotating(path: Path, size: int = SIZE, kept: int = KEPT) -> Iterator[BinaryIO]:
    """Where to write within: it goes on to `path`, which begins empty and is set aside whenever it has `size` bytes.

    Raises BadInput if another service writes it, or if nothing can be written there.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BadInput(path, "is written by another service", "choose another port") from None
    with lock:
        with disk_errors(path):
            log = _Log(path, size, kept)
        source, sink = os.pipe()
        thread = threading.Thread(target=log.follow, args=(source,), daemon=True, name="log")
        thread.start()
        try:
            with os.fdopen(sink, "wb", 0) as out:
                yield out
        finally:
            thread.join(END_S)


class _Log:
    def __init__(self, path: Path, size: int, kept: int) -> None:
        self.path, self.size, self.kept = path, size, kept
        self._file = path.open("wb", 0)
        self._lost = 0

    def follow(self, source: int) -> None:
        """Until nobody has the other end. A full disk loses lines, which are counted, and holds up nobody."""
        with os.fdopen(source, "rb", 0) as coming:
            begun = b""
            while part := coming.read(65536):
                whole, newline, begun = (begun + part).rpartition(b"\n")
                self._write(whole + newline)
                if len(begun) > self.size:  # a line without end
                    self._write(begun)
                    begun = b""
            self._write(begun)
        self._file.close()

    def _write(self, lines: bytes) -> None:
        try:
            if self._lost:
                lines = b'{"level":"error","event":"%d bytes of this log are lost"}\n' % self._lost + lines
            while lines:
                room = self.size - self._file.tell()
                end = len(lines) if len(lines) <= room else lines.rfind(b"\n", 0, max(room, 0)) + 1
                if not end and self._file.tell():
                    self._set_aside()
                    continue
                end = end or self.size  # a line that is longer than a file
                self._file.write(lines[:end])
                self._lost, lines = 0, lines[end:]
        except OSError:
            self._lost += len(lines)

    def _set_aside(self) -> None:
        self._file.close()
        for number in range(self.kept, 0, -1):
            before = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                before.replace(self.path.with_name(f"{self.path.name}.{number}"))
        self._file = self.path.open("wb", 0)
