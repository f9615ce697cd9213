"""The HTTP service: routes, and how each problem becomes an answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from snn_fusion.data.recording import Sense, Signal
from snn_fusion.registry.versions import CHALLENGER, CHAMPION
from snn_fusion.serving import examples, limits, loopback, pages
from snn_fusion.serving.answering import Asked, answered, share
from snn_fusion.serving.body import Body, Held, reading
from snn_fusion.serving.cache import Cache, InMemory, InRedis, identity
from snn_fusion.serving.canary import HEADER, Canary
from snn_fusion.serving.drain import on_sigterm
from snn_fusion.serving.drift import Watch
from snn_fusion.serving.fitting import fitting
from snn_fusion.serving.follow import Follow, following
from snn_fusion.serving.guard import LOCAL, Guard, configured
from snn_fusion.serving.metrics import Metrics, State, exposed
from snn_fusion.serving.model import Model
from snn_fusion.serving.observe import Observed
from snn_fusion.serving.payload import Batch, Recording
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.query import query
from snn_fusion.serving.registry_routes import ROUTES as REGISTRY
from snn_fusion.serving.reload import Reload
from snn_fusion.serving.reply import reply
from snn_fusion.serving.session import encoded
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.stream import stream
from snn_fusion.serving.tokens import Role, Tokens
from snn_fusion.serving.tracing import tracing
from snn_fusion.serving.warm import fresh
from snn_fusion.serving.workers import Workers


class Service:
    """What the routes share."""

    def __init__(
        self, settings: Settings, model: Model, challenger: Model | None = None, tokens: Tokens | None = None
    ) -> None:
        self.settings, self.model, self.tokens = settings, model, tokens
        self.metrics, self.tracing = Metrics(), tracing()
        self.metrics.registry.register(State(self))
        self.workers = Workers(settings.threads, settings.pressure_ms / 1000, self.metrics.worked)
        self.canary = Canary(challenger, settings.canary)
        failed = self.metrics.cache.labels("failed").inc
        self.cache: Cache = InRedis(settings.redis, failed) if settings.redis else InMemory(settings.cache)
        self.held, self.sessions = Held(), 0
        self.draining = self.deciding = False
        self.follow: Follow | None = None
        self.loaded_at = time.time()
        self._watches: dict[str, Watch] = {}
        self._identities: dict[int, tuple[Model, str]] = {}
        self._later: set[asyncio.Task[None]] = set()
        for one in self.models().values():
            self.identity(one)  # reads all code: not in the first request

    @property
    def unready(self) -> str | None:
        """Why newcomers should go elsewhere, if they should."""
        if self.draining:
            return "draining"
        try:
            if self.tokens is not None:
                self.tokens.usable()
        except Problem:
            return "tokens cannot be checked"
        return "under pressure" if self.workers.pressed else None

    def models(self) -> dict[str, Model]:
        """Whatever answers, by role."""
        return {CHAMPION: self.model} | ({CHALLENGER: self.canary.challenger} if self.canary.challenger else {})

    def watch(self, role: str, model: Model) -> Watch:
        """The rates of the model that has this role now."""
        if role not in self._watches or self._watches[role].model is not model:
            self._watches[role] = Watch(model, self.settings.drift)
        return self._watches[role]

    def identity(self, model: Model) -> str:
        """Part of a cached answer's key."""
        if id(model) not in self._identities:
            self._identities = {id(one): (one, identity(one)) for one in (*self.models().values(), model)}
        return self._identities[id(model)][1]

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it after the answer; draining waits for it."""
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def drain(self) -> None:
        self.draining = True

    async def close(self) -> None:
        """End what is in flight, and what follows it."""
        self.drain()
        await asyncio.gather(*self._later)
        await self.workers.drained()
        self.workers.close()
        await self.cache.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)


def create(
    settings: Settings, load: Callable[[Settings], Model], challenger: Callable[[Settings], Model | None] | None = None
) -> Starlette:
    """The application; `load` gives the model when it starts, `challenger` the one that is tried beside it."""

    tokens, rates = configured(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if tokens is None:
            loopback.check_hosts(loopback.listening())
        tried = challenger(settings) if challenger else None
        app.state.service = service = Service(settings, fresh(load, settings), tried, tokens)
        app.state.reload, app.state.rates = Reload(service, load), rates
        service.follow = Follow(settings, service, app.state.reload) if settings.follows else None
        gc.freeze()  # to look for garbage in what is here already would stop all requests for 0.2 s, again and again
        with on_sigterm(service.drain, settings.drain_s):
            async with following(service.follow):
                yield
        await service.close()

    asked = partial(Guard, tokens=tokens, rates=rates, metrics_token=settings.metrics_token)
    guard = Middleware(asked, routes=ROUTES, access=ACCESS, refuse=on_problem)
    outermost = [Middleware(Observed), guard]  # what is refused is counted too
    made = Starlette(routes=ROUTES, lifespan=lifespan, exception_handlers=HANDLERS, middleware=outermost)
    made.router.redirect_slashes = False  # a path that is none of ours is a 404, and leads nowhere else
    return made


def of(request: Any) -> Service:
    service: Service = request.app.state.service
    return service


async def predict_one(request: Request) -> Response:
    """The class of one recording, of any subset of the senses."""
    query(request)
    service = of(request)
    async with reading(request, service.held) as body:

        def given(model: Model) -> Mapping[Sense, Signal]:
            return fitting(model, body.decoded(Recording))

        return reply(request, await answered(service, Asked(given, body.digest, request.headers.get(HEADER))))


async def predict_batch(request: Request) -> Response:
    """The classes of several recordings; one that cannot be used gets its problem in its place."""
    query(request)
    service, wanted = of(request), request.headers.get(HEADER)
    async with reading(request, service.held) as body:
        service.canary.choose(service.model, body.digest, wanted)  # a wrong header is the whole batch's problem
        steps = share(service)
        batch: Batch = await service.workers.run(lambda: body.decoded(Batch))
        await _counted(request, batch)
        answers = await asyncio.gather(
            *(
                _one_of(service, Asked(_given(one, f"recordings[{i}]."), body.digest, wanted, steps))
                for i, one in enumerate(batch.recordings)
            )
        )
        return reply(request, {"answers": answers})


async def _counted(request: Request, batch: Batch) -> None:
    """A batch is as many requests as it holds recordings. Raises Problem."""
    if not 1 <= len(batch.recordings) <= limits.BATCH:
        raise invalid("recordings", f"{len(batch.recordings)} recordings", f"1 ... {limits.BATCH}")
    if len(batch.recordings) > 1 and request.state.identity is not LOCAL:
        await request.app.state.rates.owe(request.state.identity, len(batch.recordings) - 1)


def _given(recording: Recording, at: str) -> Callable[[Model], Mapping[Sense, Signal]]:
    return lambda model: fitting(model, recording, at)


async def _one_of(service: Service, asked: Asked) -> dict[str, Any]:
    """An answer, or the problem in its place."""
    try:
        return await answered(service, asked, cached=False)
    except Problem as problem:
        return {"status": problem.status, **problem.body()}


async def spikes(request: Request) -> Response:
    """What the encoders make of a recording: for each sense, (step, channel) of each spike."""
    query(request)
    service, model = of(request), of(request).model

    def work(body: Body) -> Response:
        senses = {
            sense: {
                "steps": one.rows,
                "channels": one.channels,
                "indptr": one.indptr.tolist(),
                "index": one.index.tolist(),
            }
            for sense, one in encoded(model, fitting(model, body.decoded(Recording))).items()
        }
        return reply(request, {"step_ms": model.graph.encoding.step_ms, "senses": senses})

    async with reading(request, service.held) as body:
        share(service)  # which refuses it in its turn; there are no steps to save here
        made: Response = await service.workers.run(partial(work, body))
        return made


async def health(request: Request) -> Response:
    return reply(request, {"status": "alive"})


async def ready(request: Request) -> Response:
    """Red before requests fail: while it drains, or cannot check tokens, or newcomers get less than all steps."""
    service = of(request)
    why = service.unready
    answer = {"ready": why is None, "waiting": service.workers.waiting}
    return reply(request, answer | ({"why": why} if why else {}), 503 if why else 200)


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status in (408, 413):
        headers["Connection"] = "close"
    return reply(request, error.body(), error.status, headers)


async def on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = ", ".join(sorted({route.path for route in ROUTES if isinstance(route, Route)}))
    limit = {404: f"there are: {known}", 405: "see /docs"}.get(error.status_code, "see /docs")
    problem = Problem(error.status_code, "path", str(error.detail), limit)
    return reply(request, problem.body(), error.status_code, dict(error.headers or {}))


ROUTES = [
    Route("/v1/predict", predict_one, methods=["POST"]),
    Route("/v1/predict/batch", predict_batch, methods=["POST"]),
    Route("/v1/spikes", spikes, methods=["POST"]),
    WebSocketRoute("/v1/stream", stream),
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", exposed),
    *REGISTRY,
    *examples.ROUTES,
    *pages.ROUTES,
]
# Who may use which route; None is everyone. What is not here needs admin.
ACCESS: dict[str, Role | None] = {
    "/": None,
    "/docs": None,
    "/openapi.json": None,
    "/page/{name}": None,
    "/health": None,
    "/ready": None,
    "/v1/models": Role.VIEWER,
    "/api/experiments": Role.VIEWER,
    "/api/experiments/{id}": Role.VIEWER,
    "/api/benchmarks": Role.VIEWER,
    "/v1/examples": Role.VIEWER,
    "/v1/examples/{label}": Role.VIEWER,
    "/v1/pen": Role.PREDICTOR,
    "/v1/predict": Role.PREDICTOR,
    "/v1/predict/batch": Role.PREDICTOR,
    "/v1/spikes": Role.PREDICTOR,
    "/v1/stream": Role.PREDICTOR,
    "/api/models/{version}/promote": Role.REVIEWER,
    "/api/models/{version}/rollback": Role.REVIEWER,
    "/api/models/reload": Role.ADMIN,
    "/metrics": Role.ADMIN,
}
HANDLERS: Any = {Problem: on_problem, HTTPException: on_http}
