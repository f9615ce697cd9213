"""The commands about serving: serve, package, sample, and rollback of what is served."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Annotated

import typer

from snn_fusion.cli_common import Json, ParamsFile, read_params, run_stage
from snn_fusion.errors import BadInput
from snn_fusion.targets.names import NAMES
from snn_fusion.workspace import Workspace


def serve(
    model: Annotated[
        str | None, typer.Option(help="A version, an alias or a graph folder [default: champion]", show_default=False)
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option("--as", help=f"float, or exactly as a chip does it: {', '.join(NAMES)} [default: float]"),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need tokens")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    params: ParamsFile = None,
) -> None:
    """Serve a network: raw recordings in, answers out, on this machine only unless keys are set; Ctrl-C ends it.

    Other settings come from the environment (SNN_FUSION_SERVE_...): docs/serving.md.

    **Examples**

        snn-fusion serve

        snn-fusion serve --model 3 --as loihi2 --port 3001
    """
    from snn_fusion.serving.serve import serve
    from snn_fusion.serving.settings import Settings

    settings = Settings.from_environment()
    if model is not None:
        settings = replace(settings, model=model)
    if arithmetic is not None:
        settings = replace(settings, arithmetic=arithmetic)
    if settings.arithmetic not in ("float", *NAMES):
        raise BadInput("--as", f"is {settings.arithmetic[:40]!r}", f"float, {', '.join(NAMES)}")
    if params is not None:
        read_params(params)
        settings = replace(settings, params=str(params.resolve()))
    serve(Workspace.default(), settings, host, port)


def package(
    model: Annotated[
        str | None, typer.Option(help="A registered version or alias [default: champion]", show_default=False)
    ] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Build a Bento of a registered version: all that serving needs, pinned and sealed; `bentoml serve` runs it.

    **Examples**

        snn-fusion package

        snn-fusion package --model 3 --json
    """
    from snn_fusion.serving.package import package

    run_stage(lambda p, w: package(p, w, model or "champion"), params, as_json)


def sample(
    sense: Annotated[
        list[str] | None, typer.Option(help="audio, events or imu; may come again [default: all that the model has]")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What the recording is of")] = None,
    recording: Annotated[str | None, typer.Option("--id", help="Which recording")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="For which network: a version, an alias or a graph folder [default: champion, else newest]",
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
) -> None:
    """Print a test recording as the JSON that a service of the model takes: its senses, its channels.

    **Examples**

        snn-fusion sample --sense audio --label 7 > seven.json

        snn-fusion sample | curl -s -H 'Content-Type: application/json' -d @- http://127.0.0.1:3000/v1/predict
    """
    from snn_fusion.serving.sample import sample

    found = sample(Workspace.default(), sense or [], label, recording, model, read_params(params))
    sys.stdout.write(json.dumps(found) + "\n")


def rollback(
    version: Annotated[str | None, typer.Argument(help="The champion that is taken back [default: it]")] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Make the champion before the present one champion again; on record, like a promotion.

    **Examples**

        snn-fusion rollback

        snn-fusion rollback 3
    """
    from snn_fusion.registry.rollback import rollback

    run_stage(lambda p, w: rollback(p, w, version), params, as_json)
