"""The guard before all routes: who asks, may they, how often; and one log line, one correlation id for each request.

Nothing of a request but its first line and headers has been read when it is refused.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from snn_fusion.serving import loopback
from snn_fusion.serving.kinds import kind_of
from snn_fusion.serving.logs import correlate, log
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.rates import Rates
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.tokens import Identity, Role, Tokens

if TYPE_CHECKING:
    from snn_fusion.serving.app import Service

NOBODY = Identity("", Role.VIEWER)
SCRAPER = Identity("metrics", Role.ADMIN)  # whoever has the token of /metrics, on that route
METRICS = "/metrics"
LOCAL = Identity("local", Role.ADMIN)  # whoever is on this computer, where no keys are configured
READS = ("GET", "HEAD", "OPTIONS")
PROTOCOL = "snn-fusion"  # of a stream; a page, which cannot set headers, adds `bearer.TOKEN` to its list
SENT_TOKEN = "a header `Authorization: Bearer TOKEN`"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Refuse = Callable[[Request, Exception], Awaitable[Response]]


class Guard:
    """`access[path]` is the role that a route needs, or None for everyone; a route that is not there needs admin.

    Without `tokens` it asks for none, and admits only what comes from this computer. `metrics_token` opens /metrics.
    `refuse` makes the answer to a Problem.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens | None,
        rates: Rates,
        routes: Sequence[BaseRoute],
        access: Mapping[str, Role | None],
        refuse: Refuse,
        metrics_token: str = "",
    ) -> None:
        self.app, self.routes, self.access, self.refuse = app, routes, access, refuse
        self.metrics_token = metrics_token.encode()
        self.tokens, self.rates = tokens, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        passing = _Passing(scope, send, correlate(Headers(scope=scope).get("x-request-id")))
        try:
            try:
                await self._admit(passing)
            except Problem as problem:
                passing.why = problem.problem
                await self._refuse(problem, passing, receive)
            else:
                await self.app(scope, receive, passing.send)
        except Exception:
            log.exception("request failed")
            await self._failed(passing, receive)
        finally:
            passing.write()

    async def _admit(self, passing: _Passing) -> None:
        """Raises Problem."""
        scope = passing.scope
        if self.tokens is None:
            loopback.check_request(scope)
            passing.identity = LOCAL
        passing.route = _route(self.routes, scope)
        await self._identify(passing)
        kind = Headers(scope=scope).get("content-type")
        if kind is not None and passing.route is not None and scope.get("method", READS[0]) not in READS:
            kind_of(kind)

    async def _identify(self, passing: _Passing) -> None:
        """Raises Problem."""
        scope = passing.scope
        needed = None if passing.route is None else self.access.get(passing.route, Role.ADMIN)
        if self.tokens is None or needed is None:  # a path without a route has nothing behind it but a 404
            scope["state"]["identity"] = passing.identity
            return
        token, passing.protocol = _token(scope)
        if (
            passing.route == METRICS
            and self.metrics_token
            and secrets.compare_digest(token.encode(), self.metrics_token)
        ):
            scope["state"]["identity"] = passing.identity = SCRAPER
            return
        identity = passing.identity = self.tokens.identity(token)
        if identity.role < needed:
            may = f"{needed.name.lower()}{' or higher' if needed < Role.ADMIN else ''}"
            raise Problem(403, "role", f"{identity.role.name.lower()} is not enough for {passing.route}", may)
        writes = needed >= Role.REVIEWER and scope.get("method") not in READS
        await self.rates.take(identity, writes)
        scope["state"]["identity"] = identity

    async def _refuse(self, problem: Problem, passing: _Passing, receive: Receive) -> None:
        scope = passing.scope
        if scope["type"] == "http":
            request = Request(scope, receive, passing.send)
        else:  # before the handshake a stream is refused like any request
            request = Request({**scope, "type": "http", "method": "GET"}, receive)
        response = await self.refuse(request, problem)
        if problem.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if scope["type"] == "http":
            await response(scope, receive, passing.send)
        else:
            await WebSocket(scope, receive, passing.send).send_denial_response(response)

    async def _failed(self, passing: _Passing, receive: Receive) -> None:
        if passing.status is None:
            problem = Problem(500, "service", "failed", "report it with the request_id")
            await self._refuse(problem, passing, receive)
        elif passing.scope["type"] == "websocket":
            with contextlib.suppress(RuntimeError):  # it is closed already
                await passing.send({"type": "websocket.close", "code": 1011, "reason": "service failed"})
        else:  # half of an answer is out: break the connection, so that it cannot be taken for a whole one
            raise ConnectionAbortedError from None


class _Passing:
    """One request on its way through: what its answer gets and what its log line will say."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.scope, self._send, self.request_id = scope, send, request_id
        self.since = time.perf_counter()
        self.identity, self.protocol = NOBODY, False
        self.route: str | None = None
        self.status: int | None = None
        self.why: str | None = None
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self.status = message.get("status", 101)
            self._add_headers(message)
        elif kind == "websocket.close" and self.status is None:
            self.status = 403  # which is what a server makes of a stream that is closed before it is accepted
        if kind == "websocket.accept" and self.protocol:
            message["subprotocol"] = PROTOCOL
        await self._send(message)

    def _add_headers(self, message: MutableMapping[str, Any]) -> None:
        message["headers"] = list(message.get("headers", ()))
        headers = MutableHeaders(scope=message)
        headers["X-Request-ID"] = self.request_id
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if message["type"] == "http.response.start" and self._service and self._service.draining:
            headers["Connection"] = "close"  # else the next request would be sent on one that is about to be closed

    @property
    def _service(self) -> Service | None:
        found: Service | None = getattr(self.scope["app"].state, "service", None)
        return found

    def write(self) -> None:
        service = self._service
        if service and self.identity.known:
            service.metrics.seen(self.identity.subject)
        fields = {
            "method": self.scope.get("method", "WS"),
            "route": self.route,  # not the path, in which anything may stand
            "status": self.status,
            "ms": round(1000 * (time.perf_counter() - self.since), 3),
            "subject": self.identity.subject or None,
            "role": self.identity.role.name.lower() if self.identity is not NOBODY else None,
            "model": service.model.version if service else None,
        }
        log.info("request", extra={"fields": fields | ({"refused": self.why} if self.why else {})})


def configured(settings: Settings) -> tuple[Tokens | None, Rates]:
    """Who may ask, and how often; no Tokens where no keys are set. Raises BadInput if a file or the URL is no good."""
    rates = Rates(settings.rate, settings.burst, settings.redis)
    if not settings.keys:
        return None, rates
    revoked = Path(settings.revoked) if settings.revoked else None
    return Tokens(Path(settings.keys), settings.issuer, settings.audience, revoked), rates


def _route(routes: Sequence[BaseRoute], scope: Scope) -> str | None:
    """The template of the route that Starlette's router will take, if there is one."""
    partial = None
    for route in routes:
        match, _ = route.matches(scope)
        if match == Match.FULL:
            return str(getattr(route, "path", "?"))
        if match == Match.PARTIAL and partial is None:  # another method: 405
            partial = str(getattr(route, "path", "?"))
    return partial


def _token(scope: Scope) -> tuple[str, bool]:
    """The token, and whether it came as a stream's protocol. Raises Problem 401. Never looks at the query."""
    sent = HTTPConnection(scope).headers.getlist("authorization")
    if len(sent) > 1:
        raise Problem(401, "Authorization", "comes more than once", SENT_TOKEN)
    if sent:
        scheme, _, token = sent[0].partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "Authorization", "is not of the kind Bearer", SENT_TOKEN)
        return token.strip(), False
    if scope["type"] == "websocket":
        for one in scope.get("subprotocols", ()):
            if one.startswith("bearer."):
                return one.removeprefix("bearer."), PROTOCOL in scope["subprotocols"]
    raise Problem(401, "Authorization", "is missing: no token was sent", SENT_TOKEN)
