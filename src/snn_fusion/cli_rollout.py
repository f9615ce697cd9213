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
    """One replica after the other: taken out, replaced, tested with known answers, put back.

    **Examples**

        snn-fusion deploy rolling --tag 0.2.0

        snn-fusion deploy rolling --image registry.example.org/snn-fusion/service:0.2.0 --on kubernetes
    """
    from snn_fusion.deploy.rollout import commands, kubernetes

    name = _image(image, tag)
    if on is Place.kubernetes:
        return _show(kubernetes.rolling(name, watch, namespace, _say()), as_json)
    _show(commands.rolling(name, watch, _say()), as_json)


@app.command("blue-green")
def blue_green(
    image: Image = None,
    tag: Tag = None,
    on: On = Place.compose,
    watch: WatchS = 300,
    namespace: Namespace = "snn-fusion",
    as_json: Json = False,
) -> None:
    """A new set of replicas beside the old one, tested with known answers; then all requests at once.

    On Compose the old set is kept, so that `rollback` takes a moment.

    **Examples**

        snn-fusion deploy blue-green --tag 0.2.0

        snn-fusion deploy blue-green --tag 0.2.0 --on kubernetes --watch 600
    """
    from snn_fusion.deploy.rollout import commands, kubernetes

    name = _image(image, tag)
    if on is Place.kubernetes:
        return _show(kubernetes.blue_green(name, watch, namespace, _say()), as_json)
    _show(commands.blue_green(name, watch, _say()), as_json)


@app.command()
def canary(
    image: Image = None,
    tag: Tag = None,
    model: Annotated[
        str | None, typer.Option(help="A registered version, on the image that runs; promoted through the gate")
    ] = None,
    on: On = Place.compose,
    share: Annotated[float, typer.Option(min=0.01, max=50, help="Per cent of the requests")] = 10,
    trial: Annotated[float, typer.Option(min=0, help="Seconds of the canary")] = 300,
    least: Annotated[int, typer.Option(min=1, help="Answers that the new set has to give, at least")] = 200,
    watch: WatchS = 300,
    namespace: Namespace = "snn-fusion",
    as_json: Json = False,
) -> None:
    """A share of the requests to a new set, judged beside the old one; then all of them, or none.

    **Examples**

        snn-fusion deploy canary --tag 0.2.0 --share 5

        snn-fusion deploy canary --model 7 --trial 900
    """
    from snn_fusion.deploy.rollout import commands, kubernetes

    if model is not None and (image or tag):
        raise BadInput("--model", "is tried on the image that runs", "give an image, or a version of the model")
    if model is not None and not model.isdecimal():
        raise BadInput("--model", f"is {model[:40]!r}", "the number of a registered version")
    if model is not None and on is Place.kubernetes:
        raise BadInput("--model", "is tried on Compose only", "SNN_FUSION_SERVE_CHALLENGER (docs/serving-operation.md)")
    name = "" if model else _image(image, tag)
    if on is Place.kubernetes:
        return _show(kubernetes.canary(name, share / 100, trial, least, watch, namespace, _say()), as_json)
    _show(commands.canary(name, model or "", share / 100, trial, least, watch, _say()), as_json)


@app.command()
def rollback(on: On = Place.compose, namespace: Namespace = "snn-fusion", as_json: Json = False) -> None:
    """Put back what answered before the last update; also after one that was interrupted.

    **Examples**

        snn-fusion deploy rollback

        snn-fusion deploy rollback --on kubernetes
    """
    from snn_fusion.deploy.rollout import commands, kubernetes

    _show(kubernetes.rollback(namespace, _say()) if on is Place.kubernetes else commands.rollback(), as_json)


@app.command()
def history(as_json: Json = False) -> None:
    """All updates: when, from what to what, the verdict and why.

    **Examples**

        snn-fusion deploy history

        snn-fusion deploy history --json
    """
    from snn_fusion.deploy.options import state_folder
    from snn_fusion.deploy.rollout import record

    updates = record.read(state_folder())
    if as_json:
        return show({"updates": updates}, as_json)
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = ("time", "way", "from", "to", "verdict", "why")
    for name in columns:
        table.add_column(name, overflow="fold")
    for update in updates:
        table.add_row(*(escape(str(update[name]).partition("\n")[0]) for name in columns))
    Console().print(table)


def _show(update: dict[str, Any], as_json: bool) -> None:
    """`why` has the findings in words."""
    show(update if as_json else {name: value for name, value in update.items() if name != "findings"}, as_json)


def _image(image: str | None, tag: str | None) -> str:
    """Raises BadInput."""
    if (image is None) == (tag is None):
        what = "and --tag name the same thing" if image else "is missing"
        raise BadInput("--image", what, "--image NAME:TAG, or --tag TAG for snn-fusion/service:TAG")
    name = image or f"snn-fusion/service:{tag}"
    if name.startswith("-") or any(not char.isprintable() or char.isspace() for char in name):
        raise BadInput("--image", f"{name[:80]!r} is not the name of an image", "NAME:TAG")
    return name


def _say() -> Callable[[str], Any]:
    console = Console(stderr=True)
    return lambda text: console.print(text, style="dim", highlight=False, markup=False)
