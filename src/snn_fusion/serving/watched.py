"""A file that is read again when it changes, so that keys and revocations count from the next request on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from snn_fusion.errors import BadInput

T = TypeVar("T")


class Watched(Generic[T]):
    """What `read` makes of the file; replace it in one piece (write beside it, then `mv`)."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self.path, self.read = path, read
        self._seen: tuple[int, int, int] | None = None
        self._value: T

    def get(self) -> T:
        """Raises BadInput, whatever was read before: an old list would let in what a new one shuts out."""
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)  # the second also for chmod
            if seen != self._seen:
                self._value, self._seen = self.read(self.path), seen
        except OSError as error:
            raise BadInput(self.path, f"cannot be read: {error.strerror}", "make it readable for the service") from None
        return self._value
