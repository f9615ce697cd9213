"""Settings of the service from variables and from files, as containers get their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from snn_fusion.errors import BadInput
from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from tests.serving.signing import Signer

TOKEN = "t" * 32
REDIS = "redis://:secret@cache:6379/0"


def test_a_setting_may_be_given_as_a_file_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{REDIS}\n")
    assert Settings.from_environment({"SNN_FUSION_SERVE_REDIS_FILE": str(tmp_path / "url")}).redis == REDIS


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SNN_FUSION_SERVE_REDIS_FILE": "/nowhere/url"}, "REDIS_FILE: /nowhere/url cannot be read: No such file"),
        (
            {"SNN_FUSION_SERVE_REDIS_FILE": "x", "SNN_FUSION_SERVE_REDIS": REDIS},
            "is set, and SNN_FUSION_SERVE_REDIS too",
        ),
        ({"SNN_FUSION_SERVE_NOTHING_FILE": "x"}, "NOTHING_FILE: is not known"),
        ({"SNN_FUSION_SERVE_METRICS_TOKEN": "short", "SNN_FUSION_SERVE_KEYS": "k"}, "METRICS_TOKEN: has 5 characters"),
        ({"SNN_FUSION_SERVE_METRICS_TOKEN": TOKEN}, "is set, but a service without keys asks for no token"),
        ({"SNN_FUSION_SERVE_FOLLOW_S": "-1"}, "FOLLOW_S: is -1"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_variables_name(variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Settings.from_environment(variables)


def test_a_secret_in_a_file_of_another_kind_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "threads").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"THREADS_FILE: .* cannot be read: it is not text"):
        Settings.from_environment({"SNN_FUSION_SERVE_THREADS_FILE": str(tmp_path / "threads")})


@pytest.mark.parametrize(
    ("settings", "follows"),
    [
        ({"follow_s": 5.0}, True),
        ({"follow_s": 0.0}, False),
        ({"follow_s": 5.0, "model": "3"}, False),
        ({"follow_s": 5.0, "model": "some/graph"}, False),
    ],
)
def test_only_an_alias_can_come_to_name_another_version(settings: dict[str, object], follows: bool) -> None:
    assert Settings(**settings).follows is follows  # type: ignore[arg-type]


def test_the_token_of_metrics_opens_metrics_and_nothing_else(small_model: Model, tmp_path: Path) -> None:
    keys = Signer(tmp_path).make("key").keys
    app = create(Settings(keys=str(keys), metrics_token=TOKEN), lambda _: small_model)
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/models").status_code == 401
        assert client.post("/api/models/reload").status_code == 401
        assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN[:-1]}"}).status_code == 401
