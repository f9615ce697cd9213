"""What `snn-fusion serve` and a Bento start: a parent without any socket, and the process that answers.

    python -m snn_fusion.serving.parent --host 127.0.0.1 --port 3000

The parent imports all code and then only waits: when the other is killed, a new one is there as soon as it has loaded
the model. Until then nothing listens, and connections are refused rather than held. Settings come from the environment,
which only its owner can read, unlike a command line.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

# For counters in files that several processes share. One process answers here, with a registry of its own; what is
# imported next looks at this.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry.tracking import TELEMETRY, on_server
from snn_fusion.serving import logs, loopback
from snn_fusion.serving.guard import configured
from snn_fusion.serving.logs import log
from snn_fusion.serving.settings import Settings, folder_of

LONG_S = 10.0  # one that answered for so long is replaced at once, others after a pause that doubles
PAUSE_S = (0.25, 30.0)  # the first and the longest
DEATH = 1  # PR_SET_PDEATHSIG


class Parent:
    """Runs `work` in a process of its own, again and again; it is given a file descriptor to say that it is ready."""

    def __init__(self, work: Callable[[int], int]) -> None:
        self._work = work
        self._stopping = threading.Event()
        self._child: int | None = None

    def run(self) -> int:
        """Until SIGTERM or SIGINT, which the child gets too, or until a child ends that was the first and never ready.

        Returns the exit code.
        """
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._stop)
        once_ready, pause = False, 0.0
        while not self._stopping.is_set():
            since = time.monotonic()
            ready, code = self._one()
            once_ready |= ready
            if self._stopping.is_set():
                return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else 1
            if not once_ready:
                return code if code > 0 else 1
            pause = 0.0 if time.monotonic() - since > LONG_S else min(max(2 * pause, PAUSE_S[0]), PAUSE_S[1])
            log.error("the process that answers ended", extra={"fields": {"code": code, "again_in_s": pause}})
            self._stopping.wait(pause)
        return 0

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping.set()
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _one(self) -> tuple[bool, int]:
        """One child, from its beginning to its end: whether it was ever ready, and its exit code (minus a signal)."""
        told, tell = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent, self._child = os.getpid(), os.fork()
        if not self._child:
            os.close(told)
            self._in_child(parent, tell)
        os.close(tell)
        if self._stopping.is_set():  # asked before there was anybody to tell
            os.kill(self._child, signal.SIGTERM)
        _, status = os.waitpid(self._child, 0)
        self._child = None
        ready = os.read(told, 1) == b"1"
        os.close(told)
        return ready, os.waitstatus_to_exitcode(status)

    def _in_child(self, parent: int, tell: int) -> None:
        code = 1
        try:
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, signal.SIG_DFL)
            end_with_parent(parent)
            code = self._work(tell)
        except BadInput as error:
            log.error(str(error))
            code = error.exit_code
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("the process that answers failed")
        finally:
            logging.shutdown()
            os._exit(code)


def end_with_parent(parent: int) -> None:
    """Have this process asked to end when its parent does, however that ended. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH, signal.SIGTERM)
    if os.getppid() != parent:  # it is gone already
        os._exit(1)


def preload(settings: Settings) -> None:
    """Import what the child needs, so that the next one has it at once: for a registered model MLflow as well."""
    needed = ["snn_fusion.serving.app", "snn_fusion.serving.load", "snn_fusion.serving.server"]
    if any(name and not folder_of(name) for name in (settings.model, settings.challenger)):
        os.environ.setdefault(TELEMETRY, "true")
        needed.append("mlflow")
        if not on_server():
            needed += ["mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"]
    for name in needed:
        importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m snn_fusion.serving.parent", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--with", dest="owner", type=int, help="the process that started this one, to end with it")
    asked = parser.parse_args()
    if asked.owner:
        end_with_parent(asked.owner)
    try:
        settings = Settings.from_environment()
        configured(settings)
        if not settings.keys:
            loopback.check_hosts([asked.host])
    except SnnFusionError as error:
        sys.stderr.write(f"error {error}\n")
        return error.exit_code
    logs.setup()
    preload(settings)
    logs.setup()  # again: what was imported since has loggers too

    from snn_fusion.serving.server import work

    return Parent(partial(work, settings, asked.host, asked.port)).run()


if __name__ == "__main__":
    sys.exit(main())
