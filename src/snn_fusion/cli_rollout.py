"""`snn-fusion deploy`: another image or model for the service, without losing a request, and back."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snn_fusion.cli_common import Json, show
from snn_fusion.errors import BadInput

app = typer.Typer(
    help="Update the service without losing a request: docs/updates.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Place(StrEnum):
    compose = "compose"
    kubernetes = "kubernetes"


Image = Annotated[str | None, typer.Option(help="The image, NAME:TAG", show_default=False)]
Tag = Annotated[str | None, typer.Option(help="The image snn-fusion/service:TAG", show_default=False)]
On = Annotated[Place, typer.Option(help="Where the service runs")]
WatchS = Annotated[float, typer.Option("--watch", min=0, help="Seconds for which the new replicas are watched")]
Namespace = Annotated[str, typer.Option(help="On Kubernetes")]


@app.command()
def rolling(
    image: Image = None,
    tag: Tag = None,
    on: On = Place.compose,
    watch: WatchS = 300,
    namespace: Namespace = "snn-fusion",
    as_json: Json = False,
) -> None:
    """One replica after the other: taken out, replaced, tried with known answers, put back.

    **Examples**

        snn-fusion deploy rolling --tag 0.2.0

        snn-fusion deploy rolling --image registry.example.org/snn-fusion/service:0.2.0 --on kubernetes
    """
    name = _image(image, tag)
    if on is Place.kubernetes:
        from snn_fusion.deploy.rollout import kubernetes

        return show(kubernetes.rolling(name, watch, namespace, _say()), as_json)
    from snn_fusion.deploy.rollout import commands

    show(commands.rolling(name, watch, _say()), as_json)


@app.command("blue-green")
def blue_green(
    image: Image = None,
    tag: Tag = None,
    on: On = Place.compose,
    watch: WatchS = 300,
    namespace: Namespace = "snn-fusion",
    as_json: Json = False,
) -> None:
    """A new set of replicas beside the old one, tried with known answers; then all requests at once.

    The old set is kept, so that `rollback` takes a moment.

    **Examples**

        snn-fusion deploy blue-green --tag 0.2.0

        snn-fusion deploy blue-green --tag 0.2.0 --on kubernetes --watch 600
    """
    name = _image(image, tag)
    if on is Place.kubernetes:
        from snn_fusion.deploy.rollout import kubernetes

        return show(kubernetes.blue_green(name, watch, namespace, _say()), as_json)
    from snn_fusion.deploy.rollout import commands

    show(commands.blue_green(name, watch, _say()), as_json)


@app.command()
def canary(
    image: Image = None,
    tag: Tag = None,
    model: Annotated[
        str | None, typer.Option(help="A registered version, on the image that runs; taken by all through the gate")
    ] = None,
    on: On = Place.compose,
    share: Annotated[float, typer.Option(min=0.01, max=50, help="Per cent of the requests")] = 10,
    trial: Annotated[float, typer.Option(min=0, help="Seconds of the canary")] = 300,
    least: Annotated[int, typer.Option(min=1, help="Answers that the new set is judged by, at least")] = 200,
    watch: WatchS = 300,
    namespace: Namespace = "snn-fusion",
    as_json: Json = False,
) -> None:
    """A share of the requests to a new set, judged beside the old one; then all of them, or none.

    **Examples**

        snn-fusion deploy canary --tag 0.2.0 --share 5

        snn-fusion deploy canary --model 7 --trial 900
    """
    if model is not None and (image or tag):
        raise BadInput("--model", "is tried on the image that runs", "give an image, or a version of the model")
    if model is not None and not model.isdecimal():
        raise BadInput("--model", f"is {model[:40]!r}", "the number of a registered version")
    name = "" if model else _image(image, tag)
    if on is Place.kubernetes:
        from snn_fusion.deploy.rollout import kubernetes

        if model:
            raise BadInput(
                "--model", "is tried on Compose only", "SNN_FUSION_SERVE_CHALLENGER (docs/serving-operation.md)"
            )
        return show(kubernetes.canary(name, share / 100, trial, least, watch, namespace, _say()), as_json)
    from snn_fusion.deploy.rollout import commands

    show(commands.canary(name, model or "", share / 100, trial, least, watch, _say()), as_json)


@app.command()
def rollback(on: On = Place.compose, namespace: Namespace = "snn-fusion", as_json: Json = False) -> None:
    """Put back what answered before the last update; also after one that was interrupted.

    **Examples**

        snn-fusion deploy rollback

        snn-fusion deploy rollback --on kubernetes
    """
    if on is Place.kubernetes:
        from snn_fusion.deploy.rollout import kubernetes

        return show(kubernetes.rollback(namespace, _say()), as_json)
    from snn_fusion.deploy.rollout import commands

    show(commands.rollback(_say()), as_json)


@app.command()
def history(as_json: Json = False) -> None:
    """All updates: when, from what to what, what was decided and why.

    **Examples**

        snn-fusion deploy history

        snn-fusion deploy history --json
    """
    from snn_fusion.deploy.options import state_folder
    from snn_fusion.deploy.rollout import record

    found = record.read(state_folder())
    if as_json:
        return show({"updates": found}, as_json)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("time", "way", "from", "to", "verdict", "why"):
        table.add_column(name, overflow="fold")
    for one in found:
        values = [one["time"], one["way"], one["from"], one["to"], one["verdict"], one["why"].splitlines()[0]]
        table.add_row(*(escape(str(value)) for value in values))
    Console().print(table)


def _image(image: str | None, tag: str | None) -> str:
    """Raises BadInput."""
    if (image is None) == (tag is None):
        what = "and --tag name the same thing" if image else "is missing"
        raise BadInput("--image", what, "--image NAME:TAG, or --tag TAG for snn-fusion/service:TAG")
    found = image or f"snn-fusion/service:{tag}"
    if found.startswith("-") or not all(one.isprintable() and not one.isspace() for one in found):
        raise BadInput("--image", f"{found[:80]!r} is no name of an image", "NAME:TAG")
    return found


def _say() -> Callable[[str], Any]:
    console = Console(stderr=True)
    return lambda text: console.print(text, style="dim", highlight=False, markup=False)
