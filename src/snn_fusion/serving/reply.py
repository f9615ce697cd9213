"""What is sent back: JSON, or MessagePack for whoever accepts that alone."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from snn_fusion.serving.kinds import JSON, MSGPACK, OLDER


def reply(request: Request, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    if request.headers.get("accept", "").strip().lower() in (MSGPACK, OLDER):
        return Response(msgspec.msgpack.encode(content), status, headers, MSGPACK)
    return Response(msgspec.json.encode(content), status, headers, JSON)
