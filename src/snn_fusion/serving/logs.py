"""Logs: one JSON object a line, one line a request. Tokens, headers, queries and payloads are in none of them.

Of an exception its type and place are logged, not its text, which may quote what it choked on. The correlation id in
an answer (`X-Request-ID`) finds its lines.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a correlation id that is taken over from a client or proxy
FRAMES = 12  # of a traceback, the innermost
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
log = logging.getLogger("snn_fusion.serving")


def correlate(given: str | None) -> str:
    """The correlation id of the request that starts here: `given`, if it is harmless, else a new one."""
    found = given if given and SANE.fullmatch(given) else uuid.uuid4().hex
    request_id.set(found)
    return found


class Json(logging.Formatter):
    """time, level, logger, event, request_id, and what the record has as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if found := request_id.get():
            line["request_id"] = found
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line |= _exception(record.exc_info[1])
        return msgspec.json.encode(line).decode()


def setup() -> None:
    """All of this process's lines go to standard output, as JSON; also what was set up before."""
    logging.basicConfig(stream=sys.stdout, format="")  # does nothing the second time
    logging.captureWarnings(True)
    for name in logging.root.manager.loggerDict:
        one = logging.getLogger(name)
        if one.handlers:
            one.handlers.clear()
            one.propagate = True
    for handler in logging.root.handlers:
        handler.setFormatter(Json())
    logging.getLogger("snn_fusion").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # else it writes what strangers send, a stream's query even


def _exception(error: BaseException) -> dict[str, Any]:
    """Its type and where, and those of what caused it."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    found: dict[str, Any] = {
        "exception": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found | ({"because": _exception(cause)} if cause else {})
