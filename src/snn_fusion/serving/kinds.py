"""The content types that requests may have. No other is ever read, whatever route it is sent to."""

from __future__ import annotations

from snn_fusion.serving.problems import Problem

JSON, MSGPACK = "application/json", "application/msgpack"
OLDER = "application/x-msgpack"


def kind_of(content_type: str) -> str:
    """JSON or MSGPACK. Raises Problem 415 for all else."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == OLDER:
        return MSGPACK
    if kind not in (JSON, MSGPACK):
        raise Problem(415, "Content-Type", repr(content_type[:80]), f"{JSON} or {MSGPACK}")
    return kind
