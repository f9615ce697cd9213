"""Query parameters: each route names those that it takes; what it does not take, or cannot use, is a 400."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import HTTPConnection

from snn_fusion.serving.problems import Problem

WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


def bad(name: str, problem: str, limit: str) -> Problem:
    return Problem(400, name[:40], problem, limit)


def query(request: HTTPConnection, *taken: str) -> Mapping[str, str]:
    """What was asked with. Raises Problem 400 for a parameter that is not `taken`, and for one that comes twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in taken:
            there = f"of {', '.join(taken)}" if taken else "this route takes none"
            raise bad(name or "query", "is no parameter of this route", there)
        if name in found:
            raise bad(name, "comes more than once", "once")
        found[name] = value
    return found


def whole(asked: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number. Raises Problem 400."""
    text = asked.get(name, str(default))
    if not WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise bad(name, repr(text[:40]), f"{least} ... {most:,}")
    return int(text)
