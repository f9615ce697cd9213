"""`snn-fusion retrain` and `ui`: the whole DAG at once, and the pages on which its runs are looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from snn_fusion.cli_common import Json, ParamsFile, read_params, show
from snn_fusion.workspace import Workspace


def retrain(
    speakers: Annotated[
        bool, typer.Option(help="Test the chips with each speaker left out, which trains a network for each.")
    ] = True,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Run the whole DAG once and sum up what came out; `make demo` does it with --no-speakers.

    **Examples**

        snn-fusion retrain

        snn-fusion retrain --no-speakers

        snn-fusion retrain --params mine.yaml --json
    """
    from snn_fusion.registry.outcome import print_outcome
    from snn_fusion.registry.retrain import retrain

    result = retrain(read_params(params), Workspace.default(), params_file=params, speakers=speakers)
    if as_json:
        show(result, as_json)
    else:
        print_outcome(result)


def ui(
    airflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    params: ParamsFile = None,
) -> None:
    """Start the Airflow and MLflow UIs, reachable from this machine only; Ctrl-C ends them.

    **Examples**

        snn-fusion ui

        snn-fusion ui --airflow-port 8081 --mlflow-port 5001
    """
    from snn_fusion.registry.ui import ui

    ui(Workspace.default(), airflow_port, mlflow_port, read_params(params).registry.model)
