"""What a command prints, as lines of its log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.panel import Panel
from rich.table import Table

from snn_fusion import log_lines

PRINTS = """
from snn_fusion.data.fetch import say, warn_synthetic
from snn_fusion.workspace import print_waiting
say("fetching [0, 1]")
print_waiting("waiting: another one is at work")
warn_synthetic(stands_in=False)
"""
FAILS = """
import sys
from snn_fusion import cli, registry
sys.argv = ["snn-fusion", "params"]
def fail(*_): raise ConnectionError("no way to postgresql://ada:planted@db/mlflow")
cli.settle = fail
cli.main()
"""


def said(program: str, how: str = "json") -> list[str]:
    env = {"SNN_FUSION_LOG": how, "PYTHONPATH": str(Path(log_lines.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True).stderr.splitlines()


def test_what_is_printed_in_one_go_is_one_line_and_its_colour_is_the_level() -> None:
    lines = [json.loads(line) for line in said(PRINTS)]
    assert [(one["level"], one["event"]) for one in lines] == [
        ("info", "fetching [0, 1]"),
        ("warning", "waiting: another one is at work"),
        (
            "warning",
            "THIS RUN USES SYNTHETIC RECORDINGS: Accuracies of this run say nothing about real recordings.",
        ),
    ]
    assert said(PRINTS, "")[0] == "fetching [0, 1]"


def test_an_error_that_nobody_foresaw_is_one_line_with_its_place_and_text_but_no_password() -> None:
    (text,) = said(FAILS)
    line = json.loads(text)
    assert (line["event"], line["level"], line["exception"]) == ("failed", "error", "builtins.ConnectionError")
    assert line["why"] == "no way to postgresql://db/mlflow" and line["at"] and line["stage"] == "params"
    assert "Traceback" in said(FAILS, "")[0]


def test_a_table_is_one_line_as_well(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(log_lines.VARIABLE, "json")
    table = Table(show_header=False, box=None)
    table.add_row("a", "b")
    table.add_row("c", "d")
    with caplog.at_level("INFO"):
        log_lines.console().print(table)
        log_lines.console().print(Panel("text", title="title", style="red"))
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("INFO", "a  b\n c  d"),
        ("ERROR", "title: text"),
    ]


def test_an_id_that_could_be_more_than_an_id_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNN_FUSION_REQUEST_ID", 'x", "level": "info')
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "retrain")
    assert log_lines.context() == {"dag_id": "retrain"}
