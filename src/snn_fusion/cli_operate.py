"""`snn-fusion status` and `doctor`: how an installation is, and whether it is ready to be relied on."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snn_fusion.cli_common import Json, ParamsFile, read_params, show
from snn_fusion.workspace import Workspace, project_root

if TYPE_CHECKING:
    from snn_fusion.operate.checks import Outcome

SIGNS = {"pass": "[green]pass[/]", "fail": "[bold red]FAIL[/]", "skipped": "[dim]skip[/]"}


def status(params: ParamsFile = None, as_json: Json = False) -> None:
    """What runs, in which version, the champion, the last retraining, alerts, backups and the disk.

    It changes nothing. A part that cannot be read says why, and the others are shown all the same.

    **Examples**

        snn-fusion status

        snn-fusion status --json | jq .champion
    """
    from snn_fusion.operate.status import status as read

    found = read(read_params(params), Workspace.default())
    if as_json:
        return show(found, True)
    console = Console()
    for part, values in found.items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), title_justify="left")
        console.print(f"[bold]{part}[/]")
        for name, value in values.items():
            bad = name == "problem" or str(value).startswith(("unhealthy", "exited", "restarting", "failed", "firing"))
            table.add_row(f"  {name}", f"[red]{escape(str(value))}[/]" if bad else escape(str(value)))
        console.print(table)


def doctor(
    params: ParamsFile = None,
    lenient: Annotated[bool, typer.Option("--lenient", help="Exit with 0 even if a check fails.")] = False,
    as_json: Json = False,
) -> None:
    """Check this installation before it goes into production: each item passes, or fails with its remedy.

    The stack is checked too where `snn-fusion up` was run here, and the pipeline's container from within. Exits with 1
    if a check fails. docs/operating.md lists what is checked.

    **Examples**

        snn-fusion doctor

        snn-fusion doctor --json | jq '.checks[] | select(.state == "fail")'
    """
    from snn_fusion.operate.checks import Outcome, run
    from snn_fusion.operate.installation import installation_checks
    from snn_fusion.operate.stack_checks import inside, stack_checks

    path = params or project_root() / "params.yaml"
    installed, stack = list(installation_checks(Workspace.default(), path)), list(stack_checks())
    console, outcomes = Console(stderr=as_json), list[Outcome]()
    with console.status("checking"):
        for outcome in chain(map(run, [*installed, *stack]), inside()):
            outcomes.append(outcome)
            if not as_json:
                _print(console, outcome)
    failed = sum(outcome.state == "fail" for outcome in outcomes)
    if as_json:
        show({"failed": failed, "checks": [asdict(outcome) for outcome in outcomes]}, True)
    else:
        console.print(f"[bold red]{failed} failed[/]" if failed else "[bold green]all pass[/]")
    if failed and not lenient:
        raise typer.Exit(1)


def _print(console: Console, outcome: Outcome) -> None:
    line = f"{SIGNS[outcome.state]}  {outcome.group}: [bold]{outcome.name}[/]  {escape(outcome.seen)}"
    console.print(line, highlight=False, soft_wrap=True)
    if outcome.remedy:
        console.print(f"      [yellow]{escape(outcome.remedy)}[/]", highlight=False, soft_wrap=True)
