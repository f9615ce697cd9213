"""Bodies are JSON or MessagePack; what says that it is anything else is refused wherever it is sent."""

from __future__ import annotations

import re

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from snn_fusion.serving.app import ROUTES

PATHS = sorted({route.path for route in ROUTES if isinstance(route, Route)})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_route_takes_a_body_of_another_type(client: TestClient, path: str, method: str) -> None:
    url = re.sub(r"{\w+}", "1", path)
    for kind in ("application/vnd.bentoml+pickle", "text/plain", "multipart/form-data; boundary=x", ""):
        answer = client.request(method, url, content=b"cos\nsystem\n", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["field"]) == (415, "Content-Type"), answer.text
        assert repr(kind) == answer.json()["error"]["problem"]


def test_another_type_does_not_matter_where_nothing_is_sent_or_nothing_is_there(client: TestClient) -> None:
    headers = {"Content-Type": "text/plain"}
    assert client.get("/health", headers=headers).status_code == 200
    assert client.post("/nothing", headers=headers).status_code == 404
