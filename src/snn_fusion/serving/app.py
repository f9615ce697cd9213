"""The HTTP service: routes, and how each problem becomes an answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from snn_fusion.serving import body, limits, loopback
from snn_fusion.serving.guard import Guard, configured
from snn_fusion.serving.model import Model
from snn_fusion.serving.payload import JSON, MSGPACK, Batch, Recording, decode, signals
from snn_fusion.serving.predict import predict
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.rates import Rates
from snn_fusion.serving.registry_routes import ROUTES as REGISTRY
from snn_fusion.serving.reload import Reload
from snn_fusion.serving.session import encoded
from snn_fusion.serving.settings import Settings
from snn_fusion.serving.stream import stream
from snn_fusion.serving.tokens import Role
from snn_fusion.serving.warm import fresh
from snn_fusion.serving.workers import Workers


class Service:
    """What the routes share."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.settings, self.model = settings, model
        self.workers = Workers(settings.threads, settings.pressure_ms / 1000)
        self.sessions = 0
        self.draining = False


def create(settings: Settings, load: Callable[[Settings], Model]) -> Starlette:
    """The application; `load` gives the model when it starts."""

    tokens, rates = configured(settings), Rates(settings.rate, settings.burst, settings.redis)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if tokens is None:
            loopback.check_hosts(loopback.listening())
        app.state.service = service = Service(settings, fresh(load, settings))
        app.state.reload = Reload(service, load)
        yield
        service.draining = True
        await service.workers.drained()
        service.workers.close()

    guard = Middleware(Guard, tokens=tokens, rates=rates, routes=ROUTES, access=ACCESS, refuse=on_problem)
    return Starlette(routes=ROUTES, lifespan=lifespan, exception_handlers=HANDLERS, middleware=[guard])


def of(request: Any) -> Service:
    service: Service = request.app.state.service
    return service


async def predict_one(request: Request) -> Response:
    """The class of one recording, of any subset of the senses."""
    service, content = of(request), await body.read(request)
    model, kind = service.model, request.headers.get("content-type", "")
    steps = round(service.workers.share() * model.graph.encoding.steps)
    since = time.perf_counter()

    def work() -> dict[str, Any]:
        waited = time.perf_counter() - since
        answer = predict(model, signals(decode(content, kind, Recording), model.graph.encoding), steps)
        found = answer.body(model)
        found["timing_ms"] = {"queue": round(1000 * waited, 3), **found["timing_ms"]}
        return found

    return reply(request, await service.workers.run(work))


async def predict_batch(request: Request) -> Response:
    """The classes of several recordings; one that cannot be used gets its problem in its place."""
    service, content = of(request), await body.read(request)
    model, kind = service.model, request.headers.get("content-type", "")
    batch: Batch = await service.workers.run(lambda: decode(content, kind, Batch))
    if not 1 <= len(batch.recordings) <= limits.BATCH:
        raise invalid("recordings", f"{len(batch.recordings)} recordings", f"1 ... {limits.BATCH}")
    steps = round(service.workers.share() * model.graph.encoding.steps)

    def work(i: int, one: Recording) -> dict[str, Any]:
        try:
            return predict(model, signals(one, model.graph.encoding, f"recordings[{i}]."), steps).body(model)
        except Problem as problem:
            return {"status": problem.status, **problem.body()}

    def all_of_them() -> list[dict[str, Any]]:
        return [work(i, one) for i, one in enumerate(batch.recordings)]

    return reply(request, {"answers": await service.workers.run(all_of_them)})


async def spikes(request: Request) -> Response:
    """What the encoders make of a recording: for each sense, (step, channel) of each spike."""
    service, content = of(request), await body.read(request)
    model, kind = service.model, request.headers.get("content-type", "")

    def work() -> dict[str, Any]:
        given = signals(decode(content, kind, Recording), model.graph.encoding)
        return {
            sense: {
                "steps": one.rows,
                "channels": one.channels,
                "indptr": one.indptr.tolist(),
                "index": one.index.tolist(),
            }
            for sense, one in encoded(model, given).items()
        }

    return reply(request, {"step_ms": model.graph.encoding.step_ms, "senses": await service.workers.run(work)})


async def health(request: Request) -> Response:
    return reply(request, {"status": "alive"})


async def ready(request: Request) -> Response:
    """Red before requests fail: while it drains, and when newcomers already get less than all steps."""
    service = of(request)
    why = "draining" if service.draining else "under pressure" if service.workers.pressed else None
    answer = {"ready": why is None, "waiting": service.workers.waiting}
    return reply(request, answer | ({"why": why} if why else {}), 503 if why else 200)


def reply(request: Request, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON, or MessagePack for whoever accepts that alone."""
    if request.headers.get("accept", "").strip().lower() in (MSGPACK, "application/x-msgpack"):
        return Response(msgspec.msgpack.encode(content), status, headers, MSGPACK)
    return Response(msgspec.json.encode(content), status, headers, JSON)


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
    *REGISTRY,
]
# Who may use which route; None is everyone. What is not here needs admin.
ACCESS: dict[str, Role | None] = {
    "/": None,
    "/docs": None,
    "/health": None,
    "/ready": None,
    "/v1/models": Role.VIEWER,
    "/api/experiments": Role.VIEWER,
    "/api/experiments/{id}": Role.VIEWER,
    "/api/benchmarks": Role.VIEWER,
    "/v1/predict": Role.PREDICTOR,
    "/v1/predict/batch": Role.PREDICTOR,
    "/v1/spikes": Role.PREDICTOR,
    "/v1/stream": Role.PREDICTOR,
    "/api/models/{version}/promote": Role.REVIEWER,
    "/api/models/{version}/rollback": Role.REVIEWER,
    "/metrics": Role.ADMIN,
}
HANDLERS: Any = {Problem: on_problem, HTTPException: on_http}
