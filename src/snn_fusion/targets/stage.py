"""The stages `tune` and `compile` of one target: from the trained graph to an artefact that the vendor confirms."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.config import Params
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.targets.names import FAMILY, TOOLCHAINS, check_name, epochs_of
from snn_fusion.targets.toolchain import ToolchainMissing, installed
from snn_fusion.workspace import Workspace, code_digest, digest

if TYPE_CHECKING:  # they import torch, which takes seconds that a stage with nothing to do does not need
    from snn_fusion.targets.contract import Array, Artefact, Target

CONFORMED = 20  # recordings that go through the vendor's tool
BOARDS = ("SNN_FUSION_LOIHI2", "SNN_FUSION_SPINNAKER_MACHINE")  # with one, conformance is of a board
CODE = ("targets", "network", "encoding", "training")


def unavailable(name: str) -> str | None:
    """Why a target cannot be used here: its SDK was left out. None if it can. Raises BadInput if there is none."""
    try:
        installed(TOOLCHAINS[check_name(name)])
    except ToolchainMissing as missing:
        return str(missing)
    return None


def leave_out(ws: Workspace, stage: str, name: str, why: str) -> dict[str, Any]:
    """A stage of a target that is not there: an empty folder with a stamp that says why."""
    result = {"target": name, "unavailable": why}
    return ws.build(stage, {"unavailable": why}, lambda out: result, lock=f".lock.{stage.replace('/', '.')}")


def tune(params: Params, ws: Workspace, name: str) -> dict[str, Any]:
    """Tune the trained network for a target; writes tuned/<family>/<target>/ as programs.

    Where the target is not there, its later stages are left out with it, since a DAG that skips them does not run them.
    """
    family = FAMILY.get(name, name)
    if why := unavailable(name):
        for later in (f"compiled/{name}", f"measured/{name}"):
            leave_out(ws, later, name, why)
        return {**leave_out(ws, f"tuned/{family}", name, why), "target": name}

    def work(out: Path) -> dict[str, Any]:
        from snn_fusion.network.graph import load_graph
        from snn_fusion.targets.program_file import save_program
        from snn_fusion.targets.tuners import tune_family
        from snn_fusion.training.progress import training_progress
        from snn_fusion.training.stage import read_training_data

        graph, data = load_graph(ws.path("trained", "graph")), read_training_data(params, ws)
        with training_progress(epochs_of(family, params)) as report:
            made = tune_family(family, graph, params, data, report)
        return {one: save_program(out / one, *tuned) for one, tuned in made.items()}

    inputs = {
        "trained": ws.digest("trained"),
        "encoded": ws.digest("encoded"),
        "params": digest(epochs_of(family, params), params.targets.max_drop, params.data, params.training, params.seed),
        "code": code_digest(*CODE),
    }
    result = ws.build(f"tuned/{family}", inputs, work, lock=f".lock.tuned.{family}")
    return {"target": name, "program": result[name], "up_to_date": result["up_to_date"]}


def compile_(params: Params, ws: Workspace, name: str) -> dict[str, Any]:
    """Lower the tuned program and hold the artefact to the vendor's tool on training recordings.

    Writes compiled/<target>/: the artefact, and compiled.json with what was checked. A mismatch is an error.
    """
    if why := unavailable(name):
        return leave_out(ws, f"compiled/{name}", name, why)
    family = FAMILY.get(name, name)
    inputs = {
        "tuned": ws.digest(f"tuned/{family}"),
        "code": code_digest(*CODE),
        "toolchain": installed(TOOLCHAINS[name]),
        "boards": digest([os.environ.get(one, "") for one in BOARDS]),
    }
    lock = f".lock.compiled.{name}"
    return ws.build(f"compiled/{name}", inputs, lambda out: _compile(params, ws, name, family, out), lock)


def _compile(params: Params, ws: Workspace, name: str, family: str, out: Path) -> dict[str, Any]:
    from snn_fusion.network.graph import load_graph
    from snn_fusion.targets.agreement import against_reference
    from snn_fusion.targets.artefact import save_artefact
    from snn_fusion.targets.compile import lowered, target
    from snn_fusion.targets.examples import example_samples
    from snn_fusion.targets.present import present_samples
    from snn_fusion.targets.program_file import load_program
    from snn_fusion.training.stage import read_training_data

    if ws.stamp(f"tuned/{family}")["inputs"].get("trained") != ws.digest("trained"):
        where = ws.path("tuned", family)
        raise BadInput(where, "was tuned from another network", f"run `snn-fusion tune --target {family}`")
    chip, (program, meta) = target(name), load_program(ws.path("tuned", family, name))
    graph, data = load_graph(ws.path("trained", "graph")), read_training_data(params, ws)
    examples = present_samples(meta["presentation"], data, example_samples(data, params.seed), graph)
    artefact, warnings = lowered(chip, program, examples, {"presentation": meta["presentation"]})
    result = {
        "target": name,
        "digest": save_artefact(out, artefact),
        "graph": graph.digest,
        "reference": against_reference(program, artefact, examples, chip.run),
        "conformance": held_to_the_vendor(chip, artefact, {key: one[:CONFORMED] for key, one in examples.items()}),
        "warnings": warnings,
        "tuning": meta.get("tuning", {}),
    }
    if hasattr(chip, "mapping"):
        result["mapping"] = chip.mapping(artefact)
    (out / "compiled.json").write_text(json.dumps(result, indent=1) + "\n")
    return {key: result[key] for key in ("target", "digest", "conformance", "reference", "warnings")}


def held_to_the_vendor(chip: Target, artefact: Artefact, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """What went through the vendor's tool. Raises SnnFusionError if one value differs."""
    started = time.monotonic()
    found = chip.conform(artefact, inputs)
    if found.spikes or found.potentials or found.words:
        problem = f"{found.spikes} spikes, {found.potentials} potentials and {found.words} words differ"
        raise SnnFusionError(f"{chip.name}: {problem} from {found.tool}: the artefact is not what the chip would run")
    recordings, seconds = len(next(iter(inputs.values()))), round(time.monotonic() - started, 1)
    return {**asdict(found), "recordings": recordings, "seconds": seconds}
