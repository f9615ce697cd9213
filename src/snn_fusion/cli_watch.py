"""`snn-fusion exporter`: the pipeline's metrics for Prometheus."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from snn_fusion.cli_common import ParamsFile, read_params
from snn_fusion.workspace import Workspace


def exporter(
    host: Annotated[str, typer.Option(help="Address to listen on; whoever reaches it can read all metrics")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 9464,
    tls: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Tell when the certificate of this TLS server ends (may be repeated)."),
    ] = None,
    params: ParamsFile = None,
) -> None:
    """Serve the pipeline's metrics at /metrics for Prometheus: registry, trainings, decisions, backups, disk.

    Nothing is written or changed. While MLflow is down the rest is served all the same. Names:
    docker/monitoring/README.md.

    **Examples**

        snn-fusion exporter

        snn-fusion exporter --port 9464 --tls localhost:443
    """
    from snn_fusion.watch.certificate import parse_endpoint
    from snn_fusion.watch.exporter import export

    endpoints = [parse_endpoint(one) for one in tls or ()]
    model = read_params(params).registry.model
    Console(stderr=True).print(f"metrics on http://{host}:{port}/metrics; Ctrl-C ends it", highlight=False)
    export(Workspace.default(), model, host, port, endpoints)
