"""Logs: one JSON object a line, one line a request. Tokens, headers, queries and payloads are in none of them.

Of an exception its type and place are logged, not its text, which may quote what it choked on. The correlation id in
an answer (`X-Request-ID`) finds its lines.
"""

from __future__ import annotations

import logging
import sys
import uuid

from snn_fusion import log_lines
from snn_fusion.log_lines import SANE, Json, request_id

log = logging.getLogger("snn_fusion.serving")


def correlate(given: str | None) -> str:
    """The correlation id of the request that starts here: `given`, if it is harmless, else a new one."""
    found = given if given and SANE.fullmatch(given) else uuid.uuid4().hex
    request_id.set(found)
    return found


def setup() -> None:
    """All of this process's lines go to standard output, as JSON; also what was set up before."""
    log_lines.setup(sys.stdout, Json())
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # else it writes what strangers send, a stream's query even
