"""The command `snn-fusion`: one command a stage, each a thin call into the stage's folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from snn_fusion import (
    cli_backup,
    cli_deploy,
    cli_keys,
    cli_operate,
    cli_rollout,
    cli_runs,
    cli_serving,
    cli_targets,
    cli_versions,
    cli_watch,
    log_lines,
)
from snn_fusion.cli_common import Json, ParamsFile, read_params, run_stage, show
from snn_fusion.errors import SnnFusionError
from snn_fusion.libraries import settle
from snn_fusion.registry.processes import interruptible
from snn_fusion.search.command import Step, check_options, run_step
from snn_fusion.stage_span import stage_span
from snn_fusion.workspace import Workspace

app = typer.Typer(
    name="snn-fusion",
    help="Retrain, evaluate and register one spiking network for several sensors.\n\n"
    "The stages in order: import, validate, encode, train, evaluate, speakers; for each chip tune, compile, benchmark; "
    "then compare, register, promote, package, push. Each can be run on its own and run again; `retrain` runs them all "
    "as one Airflow DAG. What they write lies in workspace/ (SNN_FUSION_HOME moves it).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.command("import")
def import_(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A folder with a recordings.csv, or with fsdd/, nmnist/, pendigits/ in it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this source in params.yaml [default: the folder's name]")
    ] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Set damaged files aside, each with its reason, and go on.")
    ] = False,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Bring recordings in: the public sets, or a folder of your own.

    Without `--from`, every source in params.yaml that is missing is fetched: from SNN_FUSION_DATA_DIR, from a
    neighbouring shared/data, or from its public home. A folder of your own has a recordings.csv or a sub-folder a class
    (`yes/001.wav`, `train/yes/001.wav`): docs/recordings.md.

    **Examples**

        snn-fusion import

        snn-fusion import --from ~/lab/session-7 --name lab
    """
    from snn_fusion.validation.at_import import import_measured

    run_stage(lambda p, w: import_measured(p, w, source=source, name=name, quarantine=quarantine), params, as_json)


@app.command()
def validate(params: ParamsFile = None, as_json: Json = False) -> None:
    """Check every recording and the data set as a whole; set bad recordings aside; join senses by label.

    **Examples**

        snn-fusion validate

        snn-fusion validate --params mine.yaml
    """
    from snn_fusion.validation.stage import validate

    run_stage(validate, params, as_json)


@app.command()
def encode(params: ParamsFile = None, as_json: Json = False) -> None:
    """Turn the validated recordings into spikes (cached by content, over all cores).

    **Examples**

        snn-fusion encode

        snn-fusion encode --json
    """
    from snn_fusion.encoding.stage import encode

    run_stage(encode, params, as_json)


@app.command()
def train(params: ParamsFile = None, as_json: Json = False) -> None:
    """Train the network; goes on from the last checkpoint after a kill.

    Under `torchrun` its processes share every batch, and the result is that of one process.

    **Examples**

        snn-fusion train

        torchrun --nproc-per-node 2 --no-python snn-fusion train

        snn-fusion train --params mine.yaml
    """
    from snn_fusion.training.stage import train

    run_stage(train, params, as_json)


@app.command()
def search(
    step: Annotated[Step, typer.Argument(help="One step of the search alone [default: all of it]")] = Step.all,
    slot: Annotated[int | None, typer.Option(min=0, help="Which trial (for `trial`)")] = None,
    trials: Annotated[int | None, typer.Option(min=1, max=1000, help="How many [default: search.trials]")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at once [default: by the number of cores]")] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Search better parameters for `train`: many short trainings, the hopeless ones stopped early.

    Plans the trials, runs those that are not finished, and writes the best one's parameters to
    `workspace/search/best.yaml`. Interrupted, it goes on when run again. The Airflow DAG `search` calls the steps
    `plan`, `trial` and `best`. More: docs/search.md.

    **Examples**

        snn-fusion search --trials 30

        snn-fusion train --params workspace/search/best.yaml

        snn-fusion search trial --slot 3
    """
    check_options(step, slot=slot, trials=trials, jobs=jobs)
    result = run_step(step, read_params(params), Workspace.default(), slot, trials, jobs, params)
    if as_json or "best" not in result:
        show(result, as_json)
    else:
        from snn_fusion.search.best import print_best

        print_best(result)


@app.command()
def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(help="Any folder of recordings, whatever their split [default: the workspace's test split]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A graph folder or a registered version [default: the champion, else the newest]"),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the metrics here ('-': print).")] = None,
    params: ParamsFile = None,
) -> None:
    """Measure a model: each sense alone and fused, clean, under noise, with senses missing, stopped early.

    Without `--data` this is the pipeline's stage: the newly trained network on the workspace's test split. Keys of
    the JSON: docs/evaluation.md.

    **Examples**

        snn-fusion evaluate

        snn-fusion evaluate --data ../shared/data --json out.json --model 3
    """
    from snn_fusion.benchmark.stage import evaluate, evaluate_folder
    from snn_fusion.registry.models import resolve_model

    checked, workspace = read_params(params), Workspace.default()
    if data is None and model is None:
        result = evaluate(checked, workspace, out=json_out)
    else:
        result = evaluate_folder(checked, workspace, resolve_model(checked, workspace, model), data, json_out)
    if str(json_out) != "-":
        show(result, as_json=False)


app.command("speakers")(cli_targets.speakers)
app.command("tune")(cli_targets.tune)
app.command("compile")(cli_targets.compile_)
app.command("run")(cli_targets.run)
app.command("benchmark")(cli_targets.benchmark)
app.command("compare")(cli_targets.compare)
app.command("keys")(cli_keys.keys)
app.command("token")(cli_keys.token)
app.command("exporter")(cli_watch.exporter)
app.command("notify")(cli_watch.notify)
app.command("up")(cli_deploy.up)
app.command("down")(cli_deploy.down)
app.add_typer(cli_rollout.app, name="deploy")
app.command("status")(cli_operate.status)
app.command("doctor")(cli_operate.doctor)
app.command("serve")(cli_serving.serve)
app.command("package")(cli_serving.package)
app.command("sample")(cli_serving.sample)
app.command("rollback")(cli_serving.rollback)


@app.command()
def register(params: ParamsFile = None, as_json: Json = False) -> None:
    """Log the run to MLflow and register its network as `challenger`.

    **Examples**

        snn-fusion register

        snn-fusion register --json
    """
    from snn_fusion.registry.register import register

    run_stage(register, params, as_json)


@app.command()
def promote(
    version: Annotated[str | None, typer.Argument(help="Registered version [default: the challenger]")] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion, if it passes the gate; else say why not.

    **Examples**

        snn-fusion promote

        snn-fusion promote 3
    """
    from snn_fusion.registry.promote import promote

    run_stage(lambda p, w: promote(p, w, version=version), params, as_json)


app.command("push")(cli_versions.push)
app.command("backup")(cli_backup.backup)
app.command("restore")(cli_backup.restore)
app.command("drill")(cli_backup.drill)
app.command("reproduce")(cli_versions.reproduce)


@app.command()
def plot(
    recording: Annotated[str, typer.Argument(help="Id of a recording or of a joined recording")],
    out: Annotated[Path, typer.Option(help="PNG file to write")] = Path("recording.png"),
    params: ParamsFile = None,
) -> None:
    """Draw a recording's senses beside the spikes they become.

    **Examples**

        snn-fusion plot fsdd/3_theo_0

        snn-fusion plot lab/take-000 --out take.png
    """
    from snn_fusion.encoding.plots import plot_recording

    plot_recording(read_params(params), Workspace.default(), recording, out)
    Console().print(f"wrote {out}")


app.command("retrain")(cli_runs.retrain)
app.command("ui")(cli_runs.ui)
app.command("params")(cli_versions.params)


def main() -> None:
    """Entry point: 0 done, 2 bad input or configuration, 1 anything else."""
    name = next((one for one in sys.argv[1:] if not one.startswith("-")), "")
    if log_lines.as_json():
        log_lines.setup_command(name)
    try:
        with interruptible(), stage_span(name):
            settle(Workspace.default())
            app()
    except SnnFusionError as error:
        if log_lines.as_json():
            log_lines.log.error(str(error), extra={"fields": {"exit_code": error.exit_code}})
        else:
            Console(stderr=True).print(f"[bold red]error[/] {_plain(error)}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception:
        if not log_lines.as_json():
            raise
        log_lines.log.exception("failed", extra={"fields": {"exit_code": 1}})
        sys.exit(1)


def _plain(error: SnnFusionError) -> str:
    from rich.markup import escape

    return escape(str(error))
