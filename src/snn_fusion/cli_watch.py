"""`snn-fusion exporter` and `notify`: the pipeline's metrics for Prometheus, messages for people."""

from __future__ import annotations

from typing import Annotated

import typer

from snn_fusion import log_lines
from snn_fusion.cli_common import ParamsFile, read_params
from snn_fusion.errors import BadInput, SnnFusionError
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
    log_lines.console().print(f"metrics on http://{host}:{port}/metrics; Ctrl-C ends it", highlight=False)
    export(Workspace.default(), model, host, port, endpoints)


def notify(
    kind: Annotated[str, typer.Argument(help="One word for machines, such as failed")] = "test",
    title: Annotated[str, typer.Option(help="What happened, in one line")] = "SNN-Fusion: a test, nothing happened",
    text: Annotated[str, typer.Option(help="More of it")] = "",
) -> None:
    """Send a message by mail and web hook, as after a failed run, a new champion, a refusal; by itself it is a test.

    Where it goes: the variables SNN_FUSION_NOTIFY_..., docs/logging.md.

    **Examples**

        snn-fusion notify

        snn-fusion notify failed --title "retrain failed"
    """
    from snn_fusion.notify import Settings
    from snn_fusion.notify import notify as send

    settings = Settings.from_environment()
    if not settings.webhook and not settings.mail:
        raise BadInput("SNN_FUSION_NOTIFY_MAIL, SNN_FUSION_NOTIFY_WEBHOOK", "nobody is to be told", "set one of them")
    if send(kind, title, text):
        raise SnnFusionError("not everybody was told")
