"""What the commands share: options, and how a result is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from snn_fusion import log_lines
from snn_fusion.config import Params, load_params
from snn_fusion.workspace import Workspace, project_root

ParamsFile = Annotated[
    Path | None, typer.Option("--params", help="Parameters file [default: params.yaml]", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]


def read_params(path: Path | None) -> Params:
    return load_params(path or project_root() / "params.yaml")


def show(result: dict[str, Any], as_json: bool) -> None:
    """The stage's result: a JSON line for machines, a table for people; nothing from a process that only helped."""
    if not result:
        return
    log_lines.done()
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    for key, value in result.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        table.add_row(f"[bold]{key.replace('_', ' ')}[/]", text)
    Console().print(table)


def run_stage(work: Callable[[Params, Workspace], dict[str, Any]], params: Path | None, as_json: bool) -> None:
    show(work(read_params(params), Workspace.default()), as_json)
