"""The stages `benchmark`, of one target, and `compare`, of all: what a chip does with the test recordings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_fusion.benchmark.console import Progress, say
from snn_fusion.benchmark.speakers import STAGE as LEFT_OUT
from snn_fusion.config import Params
from snn_fusion.data.manifest import DATA_SET
from snn_fusion.errors import BadInput
from snn_fusion.targets.names import NAMES, TOOLCHAINS
from snn_fusion.targets.stage import leave_out, unavailable
from snn_fusion.workspace import Workspace, code_digest, digest, write_atomic

if TYPE_CHECKING:  # it imports torch, which takes seconds that a stage with nothing to do does not need
    from snn_fusion.targets.contract import Measurement, Target

SCHEMA = 1
HERE = "this machine, while it simulated the chip; not the chip's own"


def benchmark(params: Params, ws: Workspace, name: str) -> dict[str, Any]:
    """Run the compiled network of a target on the test split under every condition, beside the float network.

    And the networks of left_out/, each on the speaker that it never heard.
    Writes measured/<target>/measured.json (docs/evaluation.md).
    """
    if why := unavailable(name):
        return leave_out(ws, f"measured/{name}", name, why)
    inputs = {
        "compiled": ws.digest(f"compiled/{name}"),
        "validated": ws.digest("validated", *DATA_SET),
        "left_out": ws.digest(LEFT_OUT),
        "params": digest(params.targets.max_drop, params.seed),
        "code": code_digest("benchmark", "targets", "network", "encoding", "data"),
    }
    lock = f".lock.measured.{name}"
    return ws.build(f"measured/{name}", inputs, lambda out: _measure(params, ws, name, out), lock)


def _measure(params: Params, ws: Workspace, name: str, out: Path) -> dict[str, Any]:
    from snn_fusion.benchmark.evaluate import TestSet
    from snn_fusion.benchmark.left_out import on_speakers
    from snn_fusion.benchmark.porting import Porting
    from snn_fusion.benchmark.stage import split_rows
    from snn_fusion.network.graph import load_graph
    from snn_fusion.targets.artefact import load_artefact
    from snn_fusion.targets.compile import target

    compiled = json.loads(ws.path("compiled", name, "compiled.json").read_text())
    graph, artefact = load_graph(ws.path("trained", "graph")), load_artefact(ws.path("compiled", name))
    tested = TestSet.of(graph, split_rows(ws), params.seed)
    if compiled["graph"] != graph.digest:
        problem = f"is of network {compiled['graph'][:12]}, the one trained last is {graph.digest[:12]}"
        raise BadInput(ws.path("compiled", name), problem, f"run `snn-fusion tune` and `compile --target {name}`")
    most = tested.batches[0][0].senses  # batches of the most senses come first
    view = "fused" if len(most) > 1 else next(iter(most))
    porting = Porting(graph, target(name), artefact, tested.singles, view)
    with Progress(f"benchmark {name}") as progress:
        root, cache = ws.path("recordings"), ws.path("cache", "tested")
        tested.each_batch(root, graph.encoding, params.seed, porting.batch, progress, cache)
    of_speakers, not_measured = on_speakers(params, ws, porting.target, artefact.meta["presentation"])
    fidelity = porting.fidelity(params.targets.max_drop) | of_speakers
    host = {"metric": "simulation", "value": porting.seconds / porting.runs, "unit": "s a recording"}
    content = {
        "schema": SCHEMA,
        "target": name,
        "graph": graph.digest,
        "compiled": compiled,
        "fidelity": fidelity,
        "passed": all(one["passed"] for views in fidelity.values() for one in views.values()),
        "not_measured": not_measured,
        "measured_on": view,
        "measurements": [
            *_accuracy_rows(fidelity, porting.target.simulator),
            *_resources(porting.target, compiled, porting.measurements),
            {**host, "provenance": "measured", "source": HERE},
        ],
    }
    write_atomic(out / "measured.json", json.dumps(content, indent=1) + "\n")
    said = {"not_measured": not_measured} if not_measured else {}
    return {"target": name, "passed": content["passed"], "worst": worst(content), **said}


def _resources(chip: Target, compiled: dict[str, Any], found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """`found`, where the vendor's mapper said nothing when it was compiled."""
    placed = chip.placed(compiled["mapping"]) if hasattr(chip, "placed") and "mapping" in compiled else []
    better = {one.metric for one in placed}
    return [asdict(one) for one in (*(one for one in found if one.metric not in better), *placed)]


def _accuracy_rows(fidelity: dict[str, Any], simulator: str) -> list[dict[str, Any]]:
    return [
        {
            "metric": f"accuracy.{condition}.{view}",
            "value": one["chip"],
            "unit": "1",
            "provenance": "emulated",
            "source": simulator,
        }
        for condition, views in fidelity.items()
        for view, one in views.items()
    ]


def worst(content: dict[str, Any]) -> dict[str, Any]:
    """Where a target loses most against what is allowed."""
    cases = [
        {"condition": condition, "view": view, **{k: one[k] for k in ("lost", "allowed", "n")}}
        for condition, views in content["fidelity"].items()
        for view, one in views.items()
    ]
    return max(cases, key=lambda one: (one["lost"] - one["allowed"], one["lost"] / one["n"]))


def compare(params: Params, ws: Workspace) -> dict[str, Any]:
    """Put the targets side by side: verdict, table and report.

    Writes compared/: targets.json and report.html (the evaluation's, with the page of chips). A target that was not
    measured for the network in the workspace counts as failed.
    """
    from snn_fusion.benchmark.chip_table import table

    graph = ws.path("trained", "graph", "digest").read_text().strip()
    chips = {name: _standing(ws, name, graph) for name in NAMES}

    def work(out: Path) -> dict[str, Any]:
        from snn_fusion.benchmark.chip_report import report_with_chips

        verdict = judge(chips, {str(k): why for k, why in params.targets.waived.items()})
        most = params.targets.max_drop
        content = {"schema": SCHEMA, "graph": graph, "max_drop": most, "verdict": verdict, "targets": chips}
        write_atomic(out / "targets.json", json.dumps(content, indent=1) + "\n")
        report_with_chips(content, ws.path("evaluated", "report.html"), out)
        return {**verdict, "report": str(Path("compared", "report.html"))}

    inputs = {
        "evaluated": ws.digest("evaluated"),
        "targets": digest(chips),
        "params": digest({str(k): why for k, why in params.targets.waived.items()}, params.targets.max_drop),
        "code": code_digest("benchmark"),
    }
    result = ws.build("compared", inputs, work)
    say(table(json.loads(ws.path("compared", "targets.json").read_text())))
    return result


def _standing(ws: Workspace, name: str, graph: str) -> dict[str, Any]:
    """What there is of a target: its measurements, or why there are none."""
    if why := unavailable(name):
        return {"state": "unavailable", "why": why}
    file = ws.path("measured", name, "measured.json")
    if not file.exists():
        without = f"{TOOLCHAINS[name].upper()}=no in the environment leaves it out"
        return {"state": "failed", "why": f"it was not measured (snn-fusion benchmark --target {name}; {without})"}
    content: dict[str, Any] = json.loads(file.read_text())
    if content["graph"] != graph:
        return {"state": "failed", "why": f"what was measured is another network ({content['graph'][:12]})"}
    if ws.stamp(f"measured/{name}")["inputs"].get("compiled") != ws.digest(f"compiled/{name}"):
        return {"state": "failed", "why": "it was compiled again, and not measured since"}
    return {"state": "measured", **content}


def judge(chips: dict[str, dict[str, Any]], waived: dict[str, str]) -> dict[str, Any]:
    """Whether the network may be registered: no target that is there failed, or loses more than it may.

    A target that params.yaml waives may lose more, or not be measured at all, and its reason is kept. A condition that
    was left out stops nothing, and is named with the reason.
    """
    problems = {}
    for name, chip in chips.items():
        if chip["state"] == "failed":
            problems[name] = chip["why"]
        elif chip["state"] == "measured" and not chip["passed"]:
            problems[name] = "; ".join(losses(chip))
    let = {name: waived[name] for name in problems if name in waived}
    left_out = {name: chip["not_measured"] for name, chip in chips.items() if chip.get("not_measured")}
    return {"passed": problems.keys() == let.keys(), "problems": problems, "waived": let, "not_measured": left_out}


def losses(chip: dict[str, Any]) -> list[str]:
    """Each condition in which more was lost than is allowed, by how much."""
    return [
        f"{condition} {view}: {100 * one['chip']:.1f} % instead of {100 * one['float']:.1f} % "
        f"({one['lost']} of {one['n']} recordings, {one['allowed']} allowed)"
        for condition, views in chip["fidelity"].items()
        for view, one in views.items()
        if not one["passed"]
    ]
