"""Where trials are kept: what is refused, what is never told, and who may take a trial over."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from snn_fusion.config import Params
from snn_fusion.errors import BadInput
from snn_fusion.search.plan import plan
from snn_fusion.search.storage import VARIABLE, SearchStopped, reason, storage
from snn_fusion.search.study import open_study
from snn_fusion.search.trial import OWNER, run_trial
from snn_fusion.workspace import Workspace

SECRET = "s3cret{0}"


def refusal(ws: Workspace) -> str:
    with pytest.raises(BadInput) as refused, storage(ws):
        pass
    assert SECRET not in str(refused.value) and refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return str(refused.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"postgresql://me:{SECRET}@host:port/db", "cannot be read as a URL"),
        (f"postgresql://me:a@{SECRET}@host/db", "cannot be read as a URL"),
        (f"postgresql://me:{SECRET}@{SECRET}/1@host/db", "cannot be read as a URL"),
        (SECRET, "cannot be read as a URL"),
        (f"mysql://me:{SECRET}@host/db", "names a storage of kind 'mysql'"),
        (f"postgresql+nothing://me:{SECRET}@host/db", "there is no driver 'postgresql+nothing'"),
        ("sqlite://", "names no SQLite file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert message in refusal(workspace)


def test_a_missing_driver_is_named_with_a_remedy(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setenv(VARIABLE, f"postgresql+psycopg2://me:{SECRET}@localhost/db")
    text = refusal(workspace)
    assert "driver 'psycopg2' of postgresql+psycopg2:// is not installed" in text and "pip install" in text


def test_a_file_that_is_no_database_is_named(workspace: Workspace) -> None:
    file = workspace.path("search", "study.db")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not a database" * 1000)
    assert f"{file}: sqlite:///" in refusal(workspace)


def test_what_a_database_says_is_told_without_the_password() -> None:
    url = make_url("postgresql://me:hush@host/db?sslpassword=quiet")
    assert reason(RuntimeError("hush, quiet\nmore"), url) == "***, ***"


def test_only_a_silent_trial_of_another_workspace_is_taken_over(
    ws: Workspace, small: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path / 'shared.db'}")
    plan(small, ws)
    with open_study(small, ws) as study:
        number = study.trial_id(0)
        study.storage.set_trial_user_attr(number, OWNER, {"home": "elsewhere:/w", "seen": time.time()})
        assert study.claim(0) and not study.claim(0)
    with pytest.raises(SearchStopped, match="trial 0 is at work in elsewhere:/w"):
        run_trial(small, ws, 0)
    with open_study(small, ws) as study:
        study.storage.set_trial_user_attr(number, OWNER, {"home": "elsewhere:/w", "seen": time.time() - 1e4})
    assert run_trial(small, ws, 0)["state"] == "complete"
    with open_study(small, ws) as study:
        assert study.trials()[0].user_attrs[OWNER]["home"] == f"{socket.gethostname()}:{ws.root}"
