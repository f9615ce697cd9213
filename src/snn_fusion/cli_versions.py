"""The commands that keep and bring back what a run was made of: params, push, reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from snn_fusion.cli_common import Json, ParamsFile, read_params, run_stage, show
from snn_fusion.strict_yaml import write_yaml
from snn_fusion.workspace import Workspace, disk_errors, write_atomic


def params(
    out: Annotated[
        Path | None, typer.Option(help="Write them to this parameters file instead, with nothing left to `extends`")
    ] = None,
    params: ParamsFile = None,
) -> None:
    """Check a parameters file and print what is in force, with all that it extends.

    **Examples**

        snn-fusion params

        snn-fusion params --params mine.yaml

        snn-fusion params --params mine.yaml --out params.yaml
    """
    found = read_params(params)
    if out is None:
        sys.stdout.write(found.model_dump_json(indent=1) + "\n")
    else:
        with disk_errors(out):
            write_atomic(out, write_yaml(found))


def push(params: ParamsFile = None, as_json: Json = False) -> None:
    """Version the workspace's data, checkpoints and registry with DVC and push them to the remote.

    **Examples**

        snn-fusion push
    """
    from snn_fusion.registry.versioning import push

    run_stage(push, params, as_json)


def reproduce(
    version: Annotated[str, typer.Argument(help="Registered version")],
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Rebuild a registered version from its recorded data, commit, parameters and seed, and compare.

    **Examples**

        snn-fusion reproduce 3

        snn-fusion reproduce champion --json
    """
    from snn_fusion.registry.reproduce import reproduce

    result = reproduce(read_params(params), Workspace.default(), version=version)
    show(result, as_json)
    if not result["same_weights"]:
        raise typer.Exit(1)
