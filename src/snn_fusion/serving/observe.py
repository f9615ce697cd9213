"""Each request is counted, timed and traced, whatever becomes of it: the outermost middleware."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snn_fusion.log_lines import request_id

UNKNOWN = "unknown"  # any path that is no route's: one label, whatever is asked for


class Observed:
    """Counts requests by the template of their route and their status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        tracing = scope["app"].state.service.tracing
        if tracing is None:
            await self._counted(scope, receive, send)
            return
        with tracing.request(scope["method"], Headers(scope=scope)) as span:
            status = await self._counted(scope, receive, send)
            span.update_name(f"{scope['method']} {template(scope)}")
            span.set_attribute("http.route", template(scope))
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("request_id", request_id.get() or "")

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> int:
        status, started = 500, time.perf_counter()  # what an exception becomes further out

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            metrics = scope["app"].state.service.metrics
            metrics.requests.labels(template(scope), status).inc()
            metrics.request_s.labels(template(scope)).observe(time.perf_counter() - started)
        return status


def template(scope: MutableMapping[str, Any]) -> str:
    """The path of the route that a request is for, with its parameters' names: never what was sent."""
    if "route" not in scope:  # refused before it was routed
        matches = (route for route in scope["app"].routes if route.matches(scope)[0] is not Match.NONE)
        return str(getattr(next(matches, None), "path", UNKNOWN))
    return str(getattr(scope["route"], "path", UNKNOWN))
