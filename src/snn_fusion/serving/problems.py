"""What a request can get instead of an answer: a status, the field, what is wrong with it, and what would be right."""

from __future__ import annotations

from typing import Any

from snn_fusion.log_lines import request_id


class Problem(Exception):
    """An answer of `status` whose JSON body names `field`, `problem` and `limit`; `retry_after` in seconds."""

    def __init__(self, status: int, field: str, problem: str, limit: str, retry_after: int | None = None) -> None:
        super().__init__(f"{field}: {problem} ({limit})")
        self.status, self.field, self.problem, self.limit = status, field, problem, limit
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        found = {"field": self.field, "problem": self.problem, "limit": self.limit}
        return {"error": found | ({"request_id": one} if (one := request_id.get()) else {})}


def invalid(field: str, problem: str, limit: str) -> Problem:
    """422: it can be read, but means nothing."""
    return Problem(422, field, problem, limit)
