"""What `snn-fusion deploy` refuses before anything is changed, and the history it shows. No engine is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from snn_fusion.cli import app
from snn_fusion.deploy.rollout import record
from snn_fusion.deploy.rollout.judge import Finding
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.errors import BadInput


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SNN_FUSION_STATE", str(tmp_path))
    return tmp_path


def refused(*arguments: str) -> str:
    """The message with which the command exits with 2."""
    result = CliRunner().invoke(app, ["deploy", *arguments])
    assert isinstance(result.exception, BadInput), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rolling"], "--image: is missing (--image NAME:TAG, or --tag TAG for snn-fusion/service:TAG)"),
        (["blue-green", "--image", "a:1", "--tag", "1"], "--image: and --tag name the same thing"),
        (["rolling", "--image", "--privileged"], "--image: '--privileged' is not the name of an image"),
        (["canary", "--tag", "1 2"], "--image: 'snn-fusion/service:1 2' is not the name of an image"),
        (["canary", "--model", "champion"], "--model: is 'champion' (the number of a registered version)"),
        (["canary", "--model", "7", "--tag", "1"], "--model: is tried on the image that runs"),
        (["canary", "--model", "7", "--on", "kubernetes"], "--model: is tried on Compose only"),
        (["rollback"], "no update is on record that could be taken back"),
    ],
)
def test_what_makes_no_sense_is_refused_naming_the_option(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def test_after_an_interrupted_update_only_rollback_is_allowed(state: Path) -> None:
    Live(unfinished="blue-green").save(state)
    assert "the update `blue-green` was interrupted (snn-fusion deploy rollback" in refused("rolling", "--tag", "1")


def test_the_history_shows_verdict_and_reason_and_as_json_the_findings(state: Path) -> None:
    finding = Finding("errors", False, "7 errors in 90 answers", {"p": 0.0001})
    record.append(state, "canary", "turned back", "errors: 7 errors in 90 answers", "old", "new", 12.3, [finding])
    shown = CliRunner().invoke(app, ["deploy", "history"], env={"COLUMNS": "200"}).output
    assert "canary" in shown and "turned back" in shown and "7 errors in 90 answers" in shown
    assert '"p": 0.0001' in CliRunner().invoke(app, ["deploy", "history", "--json"]).output
