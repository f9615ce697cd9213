"""When a service wants no newcomers, and what it does with their connections. Pressure: test_pressure.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from snn_fusion.serving.app import create
from snn_fusion.serving.model import Model
from snn_fusion.serving.settings import Settings
from tests.serving.conftest import LOCAL
from tests.serving.signing import TONE, Signer, replace


@pytest.mark.parametrize("name", ["keys", "revoked"])
def test_while_a_file_of_keys_cannot_be_used_ready_is_red(small_model: Model, tmp_path: Path, name: str) -> None:
    signer = Signer(tmp_path).make("old")
    (tmp_path / "revoked").write_text("lost\n")
    files = {"keys": signer.keys, "revoked": tmp_path / "revoked"}
    settings = Settings(keys=str(files["keys"]), revoked=str(files["revoked"]))
    with TestClient(create(settings, lambda _: small_model)) as one:
        assert one.get("/ready").status_code == 200
        whole = files[name].read_bytes()
        files[name].unlink()
        answer = one.get("/ready")
        assert (answer.status_code, answer.json()["why"]) == (503, "tokens cannot be checked")
        assert one.get("/health").status_code == 200
        replace(files[name], whole.decode())
        assert one.get("/ready").json()["ready"]


def test_while_it_drains_no_connection_is_kept(small_model: Model) -> None:
    with TestClient(create(Settings(), lambda _: small_model), headers=LOCAL) as one:
        assert "connection" not in one.get("/health").headers
        one.app.state.service.drain()  # type: ignore[attr-defined]
        answers = [one.get("/health"), one.post("/v1/predict", json=TONE), one.get("/nothing")]
        assert [(one.status_code, one.headers["connection"]) for one in answers] == [
            (200, "close"),
            (200, "close"),
            (404, "close"),
        ]
