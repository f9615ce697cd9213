"""Log lines for machines: one JSON object a line, as docker/logging/schema.json describes them.

The service always writes them. Commands write them to standard error where SNN_FUSION_LOG=json, as in the containers;
else they print for the person at the terminal.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import time
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.panel import Panel

VARIABLE = "SNN_FUSION_LOG"
SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a correlation id that is taken over from a client or proxy
FRAMES = 12  # of a traceback, the innermost
LONGEST = 2000  # characters of an exception's text
# What this process works for, from its environment: a request, a task of Airflow.
CONTEXT = {
    "request_id": "SNN_FUSION_REQUEST_ID",
    "dag_id": "AIRFLOW_CTX_DAG_ID",
    "task_id": "AIRFLOW_CTX_TASK_ID",
    "run_id": "AIRFLOW_CTX_DAG_RUN_ID",
}
LEVELS = {"yellow": logging.WARNING, "red": logging.ERROR}  # what the colours of a terminal mean
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
log = logging.getLogger("snn_fusion")
_started = time.monotonic()


class Json(logging.Formatter):
    """time, level, logger, event, request_id, `fields` of each line, and what a record has as `extra={"fields": ...}`.

    Of an exception its type and place; its text, which may quote what it choked on, only with `texts`.
    """

    def __init__(self, texts: bool = False, **fields: str) -> None:
        super().__init__()
        self.texts, self.fields = texts, fields

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if found := request_id.get():
            line["request_id"] = found
        line |= self.fields | getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line |= _exception(record.exc_info[1], self.texts)
        return msgspec.json.encode(line).decode()


def as_json() -> bool:
    return os.environ.get(VARIABLE) == "json"


def setup(stream: TextIO, formatter: logging.Formatter) -> None:
    """All of this process's log lines go to `stream`; also those of what was set up before."""
    logging.basicConfig(stream=stream, format="")  # does nothing the second time
    logging.captureWarnings(True)
    for name in logging.root.manager.loggerDict:
        one = logging.getLogger(name)
        if one.handlers:
            one.handlers.clear()
            one.propagate = True
    for handler in logging.root.handlers:
        handler.setFormatter(formatter)
    log.setLevel(logging.INFO)


def setup_command(name: str) -> None:
    """The lines of `snn-fusion NAME` say for which command, request, and task of Airflow they are."""
    setup(sys.stderr, Json(texts=True, stage=name, **context()))


def context() -> dict[str, str]:
    """What this process works for, as fields of its lines."""
    found = {field: os.environ.get(name, "") for field, name in CONTEXT.items()}
    if not SANE.fullmatch(found["request_id"]):
        found["request_id"] = ""
    return {field: value for field, value in found.items() if value}


def console() -> Console:
    """Where a command tells how it gets on: standard error, or, where machines read it, the log."""
    return _Log() if as_json() else Console(stderr=True)


def done() -> None:
    """A line that the command has its result; before that is printed, since Airflow takes a command's last line."""
    if as_json():
        log.info("done", extra={"fields": {"ms": round(1000 * (time.monotonic() - _started), 3)}})


class _Log(Console):
    """A terminal that is a log: what one call prints is the event of one line, its colour the level."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=1000, force_terminal=False, no_color=True)
        if not logging.root.handlers:  # a process that a command started
            setup(sys.stderr, Json(texts=True, **context()))

    def print(self, *objects: Any, style: Any = None, **options: Any) -> None:
        boxes = [one for one in objects if isinstance(one, Panel)]
        plain = [f"{one.title}: {one.renderable}" if isinstance(one, Panel) else one for one in objects]
        with self.capture() as captured:
            super().print(*plain, **options)
        lines = [line.rstrip() for line in captured.get().splitlines()]
        colours = " ".join(str(one) for one in (style, *(box.style for box in boxes))).split()
        level = max((LEVELS[one] for one in colours if one in LEVELS), default=logging.INFO)
        if text := "\n".join(lines).strip():
            log.log(level, "%s", text)


def without_password(text: str) -> str:
    """Without what stands between `//` and `@` in URLs."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _exception(error: BaseException, text: bool) -> dict[str, Any]:
    """Its type and where, and those of what caused it."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    found: dict[str, Any] = {
        "exception": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if text:
        found["why"] = without_password(str(error))[:LONGEST]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found | ({"because": _exception(cause, text)} if cause else {})
