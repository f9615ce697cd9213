"""What a person opens in a browser: the page, the documentation, and the document it is made from."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snn_fusion.serving import docs_page, openapi
from snn_fusion.serving.kinds import JSON
from snn_fusion.serving.problems import Problem

FOLDER = Path(__file__).with_name("page")
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {"Cache-Control": "no-cache"}  # asked for again each time; the guard adds the rest
HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?")
POLICY = f"{NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"


@cache
def _files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in KINDS}


async def page(request: Request) -> Response:
    return _file("index.html")


async def part(request: Request) -> Response:
    """Raises Problem 404: only what lies in the folder can be named, by its plain name."""
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    if name not in _files():
        raise Problem(404, "path", f"there is no /page/{name[:40]}", f"of {', '.join(sorted(_files()))}")
    headers = HEADERS | {"Content-Security-Policy": POLICY}
    return Response(_files()[name], headers=headers, media_type=KINDS[Path(name).suffix])


async def document(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(msgspec.json.encode(await _described(request)), headers=HEADERS, media_type=JSON)


async def docs(request: Request) -> Response:
    """The same for people: one page that needs nothing else, not even a script."""
    text = docs_page.render(await _described(request), _base(request))
    style = base64.b64encode(hashlib.sha256(docs_page.STYLE.encode()).digest()).decode()
    policy = f"{NOTHING}; style-src 'sha256-{style}'; img-src data:"
    return Response(text, headers=HEADERS | {"Content-Security-Policy": policy}, media_type="text/html")


def _base(request: Request) -> str:
    """Where this service was asked, as its reader can ask it again; in a command nothing else may stand."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host if HOST.fullmatch(host) else 'localhost'}"


async def _described(request: Request) -> dict[str, Any]:
    """Made once for each model: the limits and the examples are its own."""
    service, kept = request.app.state.service, request.app.state
    if getattr(kept, "described", (None,))[0] is not service.model:
        model = service.model
        kept.described = model, await service.workers.run(lambda: openapi.document(model))
    found: dict[str, Any] = kept.described[1]
    return found


async def upgrade(request: Request) -> Response:
    """Whoever asks for the stream without saying that it is one."""
    raise Problem(426, "Upgrade", "is not there", "websocket: /v1/stream is a WebSocket; see /docs")


ROUTES = [
    Route("/v1/stream", upgrade),
    Route("/openapi.json", document),
    Route("/docs", docs),
    Route("/page/{name}", part),
    Route("/", page),
]
