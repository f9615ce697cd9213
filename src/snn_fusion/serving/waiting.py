"""A service that follows the registry may start before there is a model: it is alive, not ready, and says why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from snn_fusion.serving.follow import named_now
from snn_fusion.serving.logs import log
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.reply import reply
from snn_fusion.serving.settings import Settings

FIRST = "run the DAG `retrain`, or `snn-fusion retrain` and `snn-fusion promote`"


class Waiting:
    """`why` there is nothing to answer with; None as soon as there is."""

    def __init__(self, settings: Settings, named: Callable[[Settings], str | None] = named_now) -> None:
        self.settings, self.named = settings, named
        self.why: str | None = "the registry was not asked yet"

    def look(self) -> None:
        """Ask the registry once."""
        try:
            number = self.named(self.settings)
        except Exception as error:  # of MLflow, its store, the network
            why: str | None = "the registry cannot be read"
            fields = {"why": type(error).__name__}
        else:
            why = None if number else f"the registry has no {self.settings.model} yet"
            fields = {}
        if why is not None and why != self.why:
            log.warning(why, extra={"fields": fields})
        self.why = why

    def application(self, end: Callable[[], None]) -> Starlette:
        """Answers until there is a model, then calls `end`."""

        async def looking() -> None:
            while self.why is not None:
                await asyncio.sleep(self.settings.follow_s)
                await asyncio.to_thread(self.look)
            end()

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(looking())
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        async def health(request: Request) -> Response:
            return reply(request, {"status": "alive"})

        async def ready(request: Request) -> Response:
            return reply(request, {"ready": False, "waiting": 0, "why": self.why}, 503)

        async def metrics(_: Request) -> Response:
            """So that it counts as a service that is not ready, and not as one that is down."""
            return PlainTextResponse("# TYPE snn_fusion_ready gauge\nsnn_fusion_ready 0\n")

        async def no_model(request: Request) -> Response:
            problem = Problem(503, "model", self.why or "is being loaded", FIRST)
            return reply(request, problem.body(), 503, {"Retry-After": "10"})

        methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        routes = [
            Route("/health", health),
            Route("/ready", ready),
            Route("/metrics", metrics),
            Route("/{path:path}", no_model, methods=methods),
        ]
        return Starlette(routes=routes, lifespan=lifespan)
