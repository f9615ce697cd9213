"""A chip on speakers that the network never heard: each one's network, from left_out/, on that speaker's recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snn_fusion.benchmark.conditions import LEFT_OUT, SPEAKER_CONDITIONS, Level
from snn_fusion.benchmark.console import Progress
from snn_fusion.benchmark.evaluate import TestSet
from snn_fusion.benchmark.porting import Case, Porting, Rates, compared
from snn_fusion.benchmark.speakers import SAID, SKIP, STAGE, recipe
from snn_fusion.config import Params
from snn_fusion.data.manifest import read_manifest
from snn_fusion.data.recording import SENSES
from snn_fusion.encoding.store import SpikeStore
from snn_fusion.errors import BadInput
from snn_fusion.network.graph import Graph, load_graph
from snn_fusion.targets.compile import lowered, read_program
from snn_fusion.targets.contract import Array, Target
from snn_fusion.targets.present import SPIKES, present
from snn_fusion.targets.program_file import is_program, load_program
from snn_fusion.workspace import Workspace

NOT_TAUGHT = "its own networks were not made: it was not installed when the stage `speakers` ran"
Fidelity = dict[str, dict[str, Any]]


def on_speakers(
    params: Params, ws: Workspace, target: Target, presentation: Mapping[str, Any]
) -> tuple[Fidelity, dict[str, str]]:
    """fidelity[condition]["audio"] over all speakers, with `by_speaker`; or the condition and why it was not measured.

    Raises BadInput if the stage `speakers` was not run for these parameters and recordings.
    """
    content = read_left_out(params, ws)
    if why := content["not_measured"]:
        return {}, {LEFT_OUT: why}
    own = [is_program(ws.path(STAGE, one["folder"], "tuned", target.name)) for one in content["networks"]]
    if presentation["kind"] == "windows" and not all(own):
        return {}, {LEFT_OUT: NOT_TAUGHT}
    ported = {one["speaker"]: _ported(params, ws, target, one) for one in content["networks"]}
    most = params.targets.max_drop
    return {one.name: {"audio": _pooled(ported, level, most)} for level, one in SPEAKER_CONDITIONS.items()}, {}


def read_left_out(params: Params, ws: Workspace) -> dict[str, Any]:
    """left_out.json. Raises BadInput if it is not there, or of another recipe."""
    made_from, now = ws.stamp(STAGE)["inputs"], recipe(params, ws)
    if made_from != SKIP and any(made_from.get(name) != now[name] for name in ("recordings", "params")):
        problem = "was made with other recordings or parameters"
        raise BadInput(ws.path(STAGE), problem, "run `snn-fusion speakers` (with --skip the condition is left out)")
    content: dict[str, Any] = json.loads(ws.path(STAGE, SAID).read_text())
    return content


def _ported(params: Params, ws: Workspace, target: Target, one: Mapping[str, Any]) -> Porting:
    """One speaker's network, compiled with scales from training recordings, beside itself in floating point."""
    folder = ws.path(STAGE, one["folder"])
    graph = load_graph(folder / "graph")
    if is_program(own := folder / "tuned" / target.name):
        program, meta = load_program(own)
        how = meta["presentation"]
    else:
        program, how = read_program(folder / "graph")[0], SPIKES
    artefact, _ = lowered(target, program, _examples(folder / "examples", graph, how), {"presentation": how})
    tested = TestSet.of(graph, read_manifest(folder / "recordings.parquet"), params.seed)
    porting = Porting(graph, target, artefact, tested.singles, view=None)
    with Progress(f"benchmark {target.name} on {one['speaker']}") as progress:
        root, cache = ws.path("recordings"), ws.path("cache", "tested")
        tested.each_batch(root, graph.encoding, params.seed, porting.batch, progress, cache)
    return porting


def _examples(folder: Path, graph: Graph, how: Mapping[str, Any]) -> dict[str, Array]:
    stores = {s: SpikeStore.open(folder / f"{s}.arrow") for s in SENSES if s in graph.network.senses}
    n = len(next(iter(stores.values())))
    return present(how, {s: store.take(np.arange(n)) for s, store in stores.items()}, n, graph)


def _pooled(ported: Mapping[str, Porting], level: Level, max_drop: float) -> dict[str, Any]:
    case: Case = level, "audio"
    answers = [answer for one in ported.values() for answer in one.answers[case]]
    alone = {speaker: compared(one.answers[case], {}, max_drop) for speaker, one in ported.items()}
    shown = ("n", "float", "chip", "lost", "agreement")
    by_speaker = {speaker: {key: one[key] for key in shown} for speaker, one in alone.items()}
    rates = _side_by_side([one.rates.get(case, {}) for one in ported.values()])
    return {**compared(answers, rates, max_drop), "by_speaker": by_speaker}


def _side_by_side(rates: Sequence[Rates]) -> Rates:
    """The rates of several networks' neurons as if they were one network's."""
    return {layer: [np.concatenate([one[layer][k] for one in rates]) for k in (0, 1)] for layer in rates[0]}
