"""The commands about chips: speakers, tune, compile, run, benchmark, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snn_fusion.cli_common import Json, ParamsFile, run_stage, show
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace

TARGETS = "loihi2, akida, akida2 or spinnaker"
Target = Annotated[str, typer.Option(help=f"The chip: {TARGETS}.")]


def speakers(
    skip: Annotated[
        bool, typer.Option("--skip/--train", help="Train nothing: leave the condition out, and say so.")
    ] = False,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Train a network without each speaker in turn; `benchmark` tests each on that speaker, on chip and in float.

    It takes a training for each speaker of the recordings. Killed, it goes on where it was.

    **Examples**

        snn-fusion speakers

        snn-fusion speakers --skip
    """
    from snn_fusion.benchmark.speakers import speakers

    run_stage(lambda p, w: speakers(p, w, skip), params, as_json)


def tune(target: Target, params: ParamsFile = None, as_json: Json = False) -> None:
    """Fine-tune the trained network in a chip's own arithmetic; what loses against the float network is dropped.

    **Examples**

        snn-fusion tune --target loihi2

        snn-fusion tune --target akida --json
    """
    from snn_fusion.targets.stage import tune

    run_stage(lambda p, w: tune(p, w, target), params, as_json)


def compile_(
    target: Target,
    graph: Annotated[
        Path | None,
        typer.Option(help="A folder that `train` or `tune` wrote, or any .nir file [default: what `tune` made]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --graph: where the artefact goes [default: artefacts/TARGET in the workspace]"),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Of a .nir file: seconds a step.")] = None,
    reset: Annotated[str | None, typer.Option(help="Of a .nir file: zero, subtract or none.")] = None,
    reset_delay: Annotated[
        int | None, typer.Option(min=0, max=1, help="Of a .nir file: steps until a spike resets its neuron.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="With --graph: an .npz of `spikes`, from which scales and bounds are taken.")
    ] = None,
    max_deviation: Annotated[
        float | None,
        typer.Option(min=0, help="With --graph: of a layer from the reference, at most [default: 0.005]"),
    ] = None,
    params: ParamsFile = None,
    as_json: Json = False,
) -> None:
    """Compile a network for a chip: whole numbers only, refused where the chip cannot express it.

    Without `--graph` this is the pipeline's stage: the tuned network, held to the vendor's own tool. With it, the chip
    has to answer the examples, or drawn recordings, as the reference simulation does, or nothing is written. A .nir
    file says neither how long a step is nor how neurons are reset: say it. What a chip can do: docs/targets.md.

    **Examples**

        snn-fusion compile --target loihi2

        snn-fusion compile --graph workspace/tuned/loihi2/loihi2 --target loihi2 --examples in.npz --out mine

        snn-fusion compile --graph braille.nir --target loihi2 --dt 0.0001 --reset zero --reset-delay 0
    """
    if graph is None:
        given = {"--out": out, "--dt": dt, "--reset": reset, "--reset-delay": reset_delay, "--examples": examples}
        given |= {"--max-deviation": max_deviation}
        for name, value in given.items():
            if value is not None:
                raise BadInput(name, "belongs to --graph", "give both, or neither")
        from snn_fusion.targets.stage import compile_

        run_stage(lambda p, w: compile_(p, w, target), params, as_json)
        return
    from snn_fusion.targets.agreement import MOST
    from snn_fusion.targets.compile import compile_graph, load_spikes, parse_reset, read_program

    made, meta = read_program(graph, dt, parse_reset(reset), reset_delay)
    folder = out or Workspace.default().path("artefacts", target)
    most = MOST if max_deviation is None else max_deviation
    show(compile_graph(target, made, folder, load_spikes(examples, made.inputs), meta, most), as_json)


def run(
    artefact: Annotated[Path, typer.Option(help="A folder that `compile` wrote.")],
    spikes: Annotated[Path, typer.Option(help="An .npz with `spikes` (recordings, steps, channels).")],
    out: Annotated[Path, typer.Option(help="The .npz to write: `spikes` and `potential` of the output.")],
    record: Annotated[
        str | None, typer.Option(help="all: every layer's too, as NAME.spikes and NAME.potential.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a compiled network as the chip does, to the bit, on spikes of your own.

    **Examples**

        snn-fusion run --artefact workspace/compiled/loihi2 --spikes in.npz --out out.npz

        snn-fusion run --artefact braille --spikes in.npz --out out.npz --record all
    """
    from snn_fusion.targets.compile import run_artefact

    if record not in (None, "all"):
        raise BadInput(f"--record {record}", "is not a choice", "all, or leave it out")
    show(run_artefact(artefact, spikes, out, record == "all"), as_json)


def benchmark(target: Target, params: ParamsFile = None, as_json: Json = False) -> None:
    """Test the compiled network of a chip on the test split, in every condition, beside the float network.

    **Examples**

        snn-fusion benchmark --target loihi2

        snn-fusion benchmark --target spinnaker --json
    """
    from snn_fusion.benchmark.chip_stage import benchmark

    run_stage(lambda p, w: benchmark(p, w, target), params, as_json)


def compare(params: ParamsFile = None, as_json: Json = False) -> None:
    """Put the chips side by side: what each loses, needs and does; the report's page of chips.

    **Examples**

        snn-fusion compare

        snn-fusion compare --json
    """
    from snn_fusion.benchmark.chip_stage import compare

    run_stage(compare, params, as_json)
