"""The last result of work that may take long or never end, for somebody who must not wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from snn_fusion.errors import SnnFusionError

log = logging.getLogger("snn_fusion.watch")
T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What is known: the newest result and when it was read (seconds since 1970); None: there was none yet.

    `current`: the last try succeeded, and none has been hanging since.
    """

    value: T | None
    at: float | None
    current: bool


class Latest(Generic[T]):
    """Runs `read` in a thread of its own when somebody asks and `every_s` are over since the last time.

    At most one is at work: one that hangs is not joined by others. An answer waits `patience_s` at most, and only if
    what is known is older than `stale_s`.
    """

    def __init__(
        self, what: str, read: Callable[[], T], every_s: float, patience_s: float = 0.5, stale_s: float = 120.0
    ) -> None:
        self._what, self._read, self._every, self._patience, self._stale = what, read, every_s, patience_s, stale_s
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._done.set()
        self._began: float | None = None
        self._value: T | None = None
        self._at: float | None = None
        self._error: str | None = None

    def ask(self) -> Reading[T]:
        """What is known now; starts to read again if it is time to."""
        with self._lock:
            now = time.monotonic()
            if self._done.is_set() and (self._began is None or now - self._began >= self._every):
                self._began = now
                self._done.clear()
                threading.Thread(target=self._work, name=f"reads {self._what}", daemon=True).start()
        if self._age() > self._stale:
            self._done.wait(self._patience)
        return Reading(self._value, self._at, self._error is None and self._age() <= self._stale)

    def _age(self) -> float:
        return float("inf") if self._at is None else time.time() - self._at

    def _work(self) -> None:
        try:
            value = self._read()
        except Exception as error:  # whatever it was: who asks is told that nothing is known
            self._say(str(error) if isinstance(error, SnnFusionError) else f"{type(error).__name__}: {error}")
        else:
            self._value, self._at = value, time.time()
            self._say(None)
        finally:
            self._done.set()

    def _say(self, error: str | None) -> None:
        """A line in the log when it begins to fail, fails otherwise, or is well again; not at every try."""
        if error != self._error:
            log.warning("%s: %s", self._what, error or "can be read again")
        self._error = error
