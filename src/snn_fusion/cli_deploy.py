"""`snn-fusion up` and `down`: the production stack on this host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from snn_fusion.cli_common import Json, show
from snn_fusion.errors import BadInput


def up(
    profile: Annotated[
        list[str] | None,
        typer.Option(help="Beside the core: pipeline, celery, monitoring, logging, backup; none for the core alone"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The name that clients use [default: localhost]")] = None,
    bind: Annotated[str | None, typer.Option(help="Address to publish on [default: 0.0.0.0]")] = None,
    http_port: Annotated[int | None, typer.Option(help="[default: 80]")] = None,
    https_port: Annotated[int | None, typer.Option(help="[default: 443]")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate and chain, PEM; with --key")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's private key, PEM")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with a mirror of the public recordings")] = None,
    backups: Annotated[
        Path | None, typer.Option(help="Folder for backups, of another disk [default: a volume of the engine]")
    ] = None,
    second: Annotated[Path | None, typer.Option(help="Folder for copies of the backups, of another machine")] = None,
    akida: Annotated[
        bool | None, typer.Option(help="Install BrainChip's SDK into a volume; you agree to its licence")
    ] = None,
    subnet: Annotated[str | None, typer.Option(help="Of the network behind nginx [default: 172.31.240]")] = None,
    metrics_from: Annotated[list[str] | None, typer.Option(help="Network that may read /metrics")] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(help="Network whose X-Forwarded-For names the client")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Requests a second of one address [default: 500]")] = None,
    as_json: Json = False,
) -> None:
    """Start the production stack with Docker: nginx, the service twice, MLflow, PostgreSQL, Redis, Airflow.

    Makes secrets, a certificate and images where they are missing, and waits until all is healthy. Options are kept:
    the next `up` needs only those that change, and changes nothing where there are none. docs/deploy-docker.md.

    **Examples**

        snn-fusion up

        snn-fusion up --host snn.example.org --certificate fullchain.pem --key privkey.pem --profile pipeline
    """
    from snn_fusion.deploy.options import Options, state_folder
    from snn_fusion.deploy.stack import up

    if (certificate is None) != (key is None):
        raise BadInput("--certificate", "and --key belong together", "give both, or none")
    profiles = None if profile is None else tuple(one for one in profile if one != "none")
    options = Options.load(state_folder()).changed(
        profiles=profiles,
        host=host,
        bind=bind,
        http_port=http_port,
        https_port=https_port,
        data=str(data.resolve()) if data else None,
        backups=str(backups.resolve()) if backups else None,
        second=str(second.resolve()) if second else None,
        akida=akida,
        subnet=subnet,
        metrics_from=None if metrics_from is None else tuple(metrics_from),
        trusted_proxies=None if trusted_proxy is None else tuple(trusted_proxy),
        rate=rate,
    )
    given = (certificate, key) if certificate and key else None
    show(up(options, given, Console(stderr=True)), as_json)


def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Delete all data too: databases, models, recordings")
    ] = False,
) -> None:
    """Stop the production stack; its data stays for the next `up`, unless `--volumes` is given.

    **Examples**

        snn-fusion down

        snn-fusion down --volumes
    """
    from snn_fusion.deploy.options import Options, state_folder
    from snn_fusion.deploy.stack import down

    down(Options.load(state_folder()), volumes)
