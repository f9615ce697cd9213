"""Routes to the registry: models, experiments, benchmarks, promotion. Predictions never wait for any of them.

Reading is done in two threads of its own, with a time limit. Promotion and rollback are the command line's, in a
process of its own: they may test a network on all recordings, and can be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snn_fusion.log_lines import CONTEXT, VARIABLE, request_id
from snn_fusion.registry.processes import ALONE
from snn_fusion.serving.kinds import JSON
from snn_fusion.serving.logs import log
from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.query import bad, query, whole
from snn_fusion.serving.records import NEXT, Records
from snn_fusion.serving.tokens import may_promote
from snn_fusion.stage_span import carried
from snn_fusion.workspace import PACKAGE

READ_S = 20.0  # MLflow's import alone takes seconds
PROMOTE_S = 600.0
WAITING = 32  # requests that may wait for it at once
PAGE = 50  # experiments on a page, unless asked for up to MOST
MOST = 200
VERSION = re.compile(r"[1-9][0-9]{0,8}")
RUN = re.compile(r"[0-9a-f]{32}")
TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,512}")
COMMAND = "from snn_fusion.cli import main; main()"
T = TypeVar("T")
_threads = ThreadPoolExecutor(2, "registry")
_asked = 0  # requests that wait for one of the threads, or have it


async def models(request: Request) -> Response:
    """What is served, and every registered version with its aliases and digests."""
    query(request)
    service = request.app.state.service
    served = service.model
    found = await reading(Records(service.settings).models)
    return _json(
        {
            "served": {"version": served.version, "digest": served.graph.digest, "arithmetic": served.arithmetic},
            "models": [one | {"served": one["digest"] == served.graph.digest} for one in found],
        }
    )


async def experiments(request: Request) -> Response:
    """The runs that the registry knows, newest first; `limit` of them, from the page `page` on."""
    asked = query(request, "limit", "page")
    limit, page = whole(asked, "limit", PAGE, 1, MOST), asked.get("page")
    if page is not None and not TOKEN.fullmatch(page):
        raise bad("page", repr(page[:40]), NEXT)
    return _json(await reading(lambda: _records(request).experiments(limit, page)))


async def experiment(request: Request) -> Response:
    """One run's parameters, metrics and tags."""
    query(request)
    run_id = _path(request, "id", RUN, "32 hexadecimal digits")
    return _json(await reading(lambda: _records(request).experiment(run_id)))


async def benchmarks(request: Request) -> Response:
    """The chips side by side, each number with its provenance."""
    query(request)
    return _json(await reading(_records(request).benchmarks))


async def promote(request: Request) -> Response:
    """Make a version the champion, if it passes the gate; then serve it, if the champion is what is served."""
    query(request)
    version = await _decided_by_another(request)
    async with _alone(request):
        result = await _command(request, "promote", version)
        return _json(result | {"serving": await _reloaded(request, result["promoted"])})


async def rollback(request: Request) -> Response:
    """Take a champion back: the one before it is champion again, and served, if the champion is what is served."""
    query(request)
    version = _path(request, "version", VERSION, "a version's number")
    await reading(lambda: _records(request).version(version))
    async with _alone(request):
        result = await _command(request, "rollback", version)
        return _json(result | {"serving": await _reloaded(request, True)})


@contextlib.asynccontextmanager
async def _alone(request: Request) -> AsyncIterator[None]:
    """One decision at a time, since each is a process of its own. Raises Problem 429."""
    service = request.app.state.service
    if service.deciding:
        raise Problem(429, "registry", "another decision is being made", "one at a time", retry_after=10)
    service.deciding = True
    try:
        yield
    finally:
        service.deciding = False


async def reload(request: Request) -> Response:
    """Load what the settings name now: after a promotion by the pipeline, say. A failure leaves all as it was."""
    query(request)
    found = await request.app.state.reload.now()
    return _json(found, 409 if "why" in found else 200)


async def reading(work: Callable[[], T]) -> T:
    """What `work` returns, from a thread.

    Raises Problem: its own, 429 when too many wait, or 503 when it fails or takes too long.
    """
    global _asked
    if _asked >= WAITING:
        raise Problem(429, "registry", f"{_asked} requests wait for it", f"at most {WAITING}", retry_after=1)
    _asked += 1
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.get_running_loop().run_in_executor(_threads, work)
    except Problem:
        raise
    except TimeoutError:
        raise Problem(503, "registry", f"did not answer in {READ_S:g} s", "ask again later", retry_after=10) from None
    except Exception as error:  # of MLflow, its store, its files
        log.error("the registry cannot be read", extra={"fields": {"why": type(error).__name__}})
        raise Problem(503, "registry", "cannot be read", "ask again later", retry_after=10) from error
    finally:
        _asked -= 1


async def _command(request: Request, name: str, version: str) -> dict[str, Any]:
    """What `snn-fusion NAME VERSION --json` prints. Raises Problem: 409 what it refuses, 503 what cannot be done."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("SNN_FUSION_SERVE_")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    identity = getattr(request.state, "identity", None)
    env["SNN_FUSION_USER"] = identity.subject if identity else "local"
    env |= {VARIABLE: "", CONTEXT["request_id"]: request_id.get() or "", **carried()}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *ALONE, "-c", COMMAND, name, version, "--json", *_params(request)),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    try:
        async with asyncio.timeout(PROMOTE_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise Problem(503, "registry", f"{name} took more than {PROMOTE_S:g} s", "ask again", retry_after=60) from None
    finally:
        if process.returncode is None:
            process.kill()  # the record is whole whenever that happens
            await process.wait()
    if process.returncode == 0:
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
        decided = {key: result[key] for key in ("version", "promoted", "reason") if key in result}
        log.info(name, extra={"fields": decided})
        return result
    said = err.decode(errors="replace")
    log.error(f"{name} failed", extra={"fields": {"exit_code": process.returncode}})
    if process.returncode == 2:
        raise Problem(409, "version", _refusal(said), f"see `snn-fusion {name} --help`")
    raise Problem(503, "registry", f"{name} failed", "the workspace's owner can run it by hand")


def _params(request: Request) -> list[str]:
    """The parameters file that the service was started with, if another than the checkout's."""
    file = request.app.state.service.settings.params
    return ["--params", file] if file else []


def _refusal(said: str) -> str:
    """The command's last error line, without a server's password."""
    lines = [line.removeprefix("error ") for line in said.splitlines() if line.startswith("error ")]
    return re.sub(r"//[^/@\s]+@", "//", lines[-1])[:400] if lines else "was refused"


async def _reloaded(request: Request, changed: bool) -> dict[str, Any]:
    """What is served after a decision. A service of a fixed version or folder goes on with it."""
    service = request.app.state.service
    if changed and not service.settings.model.isdecimal() and service.settings.folder is None:
        found: dict[str, Any] = await request.app.state.reload.now()
        return found
    return {"reloaded": False, "version": service.model.version, "digest": service.model.graph.digest}


async def _decided_by_another(request: Request) -> str:
    """The version in the path. Raises Problem: 404, or 403 for one's own."""
    version = _path(request, "version", VERSION, "a version's number")
    found = await reading(lambda: _records(request).version(version))
    if identity := getattr(request.state, "identity", None):
        may_promote(identity, found.tags)
    return version


def _records(request: Request) -> Records:
    return Records(request.app.state.service.settings)


def _path(request: Request, name: str, pattern: re.Pattern[str], limit: str) -> str:
    value = str(request.path_params[name])
    if not pattern.fullmatch(value):
        raise invalid(name, repr(value[:40]), limit)
    return value


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=JSON)


ROUTES = [
    Route("/v1/models", models),
    Route("/api/experiments", experiments),
    Route("/api/experiments/{id}", experiment),
    Route("/api/benchmarks", benchmarks),
    Route("/api/models/{version}/promote", promote, methods=["POST"]),
    Route("/api/models/{version}/rollback", rollback, methods=["POST"]),
    Route("/api/models/reload", reload, methods=["POST"]),
]
